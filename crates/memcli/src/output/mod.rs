//! How things are shown: to people, and to programs.

pub mod badge;
pub mod diagnostic;
pub mod human;
pub mod json;
pub mod reload;
pub mod screen;
pub mod status;
pub mod verdict;
