//! The live view of one target. What is shown and chosen is a pure [`State`]; [`view::draw`] paints it; the event loop
//! in `commands::top` feeds it samples and keys.

pub mod chart;
pub mod history;
pub mod keys;
pub mod processes;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod view;

pub use state::State;
