//! Layered, versioned, live documents.
mod check;
mod decode;
pub mod diagnostic;
pub mod diff;
mod disk;
#[cfg(feature = "document")]
pub mod document;
pub mod edit;
pub mod files;
pub mod hash;
pub mod history;
mod lastgood;
mod layout;
pub mod ledger;
mod links;
pub mod live;
pub mod load;
pub mod merge;
pub mod metrics;
pub mod origin;
pub mod overlay;
pub mod parse;
pub mod path;
pub mod reference;
pub mod rewrite;
pub mod save;
#[cfg(test)]
mod save_tests;
pub mod schema;
pub mod spec;
pub mod store;
mod suggest;
pub mod trust;
pub mod value;
mod watch;
pub use diagnostic::{Code, Diagnostic, Label, MAX_DIAGNOSTICS, Severity};
