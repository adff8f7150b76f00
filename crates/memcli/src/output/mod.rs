//! How things are shown: to people, and to programs.

pub mod diagnostic;
pub mod human;
pub mod json;
pub mod reload;
pub mod screen;
