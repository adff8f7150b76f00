//! The live view of one target. What is shown and chosen is a pure [`State`]; [`view::draw`] paints it; the event loop
//! in `commands::top` feeds it samples and keys.

pub mod chart;
mod head;
pub mod history;
pub mod keys;
mod panes;
pub mod processes;
mod small;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod view;

pub use state::State;
