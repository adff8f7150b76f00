//! How things are shown: to people, and to programs.

pub mod badge;
pub mod chart;
pub mod csv;
pub mod diagnostic;
pub mod html;
pub mod human;
pub mod json;
pub mod progress;
pub mod reload;
pub mod screen;
pub mod status;
pub mod svg;
pub mod verdict;
