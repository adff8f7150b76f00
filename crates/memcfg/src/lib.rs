//! Documents in layers, with versions, that follow their files while the program runs, and whose every error points at
//! its source.
//!
//! A program's settings come from many places: defaults, a file of the machine, one of the user, one of the project,
//! the environment, flags. `memcfg` puts them on top of each other and remembers, for each value, where it came from
//! and what it hides. What is wrong is said all at once, as data: a stable code, file, line and column (or the name of
//! the variable or the flag), what is allowed, what was probably meant; a rule over two keys shows where both were set.
//! Files of older versions are read, and rewritten on demand without losing a comment. A live document takes an edit
//! once it has settled and is valid, and keeps what it has otherwise.
//!
//! It is not a configuration language: no includes, no expressions, no templates. It never writes a file by loading it,
//! and prints nothing.
//!
//! - [`spec::Spec`] says what a document is: its [`schema::Schema`] in each version ([`history::History`]), its rules.
//! - [`files::Sources`] says where the values come from; [`load::assemble`] makes the document of them without I/O.
//! - [`live::Live`] follows the files; [`store::Store`] is the one place where the active document is.
//! - [`save::Editor`] saves a file so that it is the old one or the new one; [`edit`] and [`rewrite`] change texts.
//! - [`Diagnostic`] is what is wrong.
//!
//! With the feature `testing`, `testing` makes random documents for property tests of other crates.
//!
//! With the feature `document` (default) [`document`] is the document of the memory layers, made of the sections that
//! each of them owns. Without it the engine knows nothing of memory.
//!
//! ```
//! use memcfg::history::{History, Mark, Release};
//! use memcfg::load::{Inputs, Text, assemble};
//! use memcfg::origin::SourceKind;
//! use memcfg::schema::{Key, Kind, Schema};
//! use memcfg::spec::Spec;
//!
//! #[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
//! #[serde(deny_unknown_fields, default)]
//! struct Shop {
//!     #[garde(skip)]
//!     port: u16,
//! }
//!
//! let schema = Schema::new().with([Key::new("port", Kind::Integer { min: 1, max: 65_535 }, "Where to listen.")]);
//! let release = Release { number: 1, key: "version", mark: Mark::Number(1), schema, ops: Vec::new() };
//! let spec = Spec::<Shop>::new(History::new(release)).env_prefix("SHOP");
//!
//! let file = Text::new(SourceKind::Global, "shop.toml", "version = 1\nport = 80\n");
//! let env = vec![("SHOP_PORT".to_owned(), "8080".to_owned())];
//! let shop = assemble(&spec, &Inputs { texts: vec![file], env, ..Inputs::default() }).unwrap();
//! assert_eq!(shop.value.port, 8080);
//! assert_eq!(shop.explain("port").unwrap().shadowed[0].origin.to_string(), "shop.toml:2:8");
//!
//! let file = Text::new(SourceKind::Global, "shop.toml", "version = 1\nprot = 80\n");
//! let wrong = assemble(&spec, &Inputs { texts: vec![file], ..Inputs::default() }).unwrap_err();
//! assert_eq!(
//!     wrong[0].to_string(),
//!     "shop.toml:2:1: error[unknown_key]: unknown key `prot`\n  help: did you mean `port`?"
//! );
//! ```

#![forbid(unsafe_code)]

mod check;
#[cfg(test)]
mod crash_tests;
mod decode;
pub mod diagnostic;
pub mod diff;
mod disk;
#[cfg(feature = "document")]
pub mod document;
pub mod edit;
#[cfg(test)]
mod fault_row;
pub mod files;
mod follow;
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
pub mod secret;
pub mod spec;
pub mod store;
#[cfg(test)]
mod store_tests;
mod suggest;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trust;
pub mod value;
mod watch;
#[cfg(test)]
#[cfg(feature = "watch")]
mod watch_tests;

pub use diagnostic::{Code, Diagnostic, Label, MAX_DIAGNOSTICS, Severity};
pub use files::Sources;
pub use live::{Live, LiveOptions, LiveStatus, Reload};
pub use load::{Inputs, Loaded, assemble};
pub use secret::Secret;
pub use spec::{Document, Rule, Spec, Violation};
