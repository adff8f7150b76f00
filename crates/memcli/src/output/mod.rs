//! How things are shown: to people, and to programs.

pub mod axis;
pub mod badge;
pub mod budget;
pub mod chart;
pub mod comparison;
pub mod csv;
pub mod diagnostic;
pub mod drawn;
pub mod growth;
pub mod html;
pub mod human;
pub mod json;
pub mod page;
pub mod progress;
pub mod reload;
pub mod report;
pub mod screen;
pub mod series;
#[cfg(test)]
mod snapshots;
pub mod status;
pub mod svg;
pub mod verdict;
