//! The margins that were chosen by measuring, in one place: what `examples/refit.rs` chooses anew without a family of
//! traces, to see what the choice owes to that family.

use crate::growth::LEAST_SHARE;

/// Margins of the detector. No settings: nobody who watches a process can know a better value. They are not kept with a
/// detector's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Growth is confirmed when it has gone on for this share of the window that showed it first,
    pub confirm: f64,
    /// for at least this many shortest windows: a heap between two collections, or a start, grows for one or two.
    pub confirm_least: f64,
    /// A rise counts when it exceeds this share of the largest fall so far: what has come down before may do so again.
    pub falls: f64,
    /// A bounded model wins when it fits better by this (effective points times the log ratio of the residuals).
    pub bounded: f64,
    /// Growth is confirmed when its drift scores this much against a walk without direction, in standard deviations.
    pub walk: f64,
    /// Mann-Kendall score of the floor under a swing, corrected for autocorrelation, from which it counts as rising; in
    /// standard deviations.
    pub floor: f64,
    /// Growth below this share of the level is none.
    pub share: f64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            confirm: 0.3,
            confirm_least: 1.6,
            falls: 1.25,
            bounded: 6.0,
            walk: 2.5,
            floor: 4.2,
            share: LEAST_SHARE,
        }
    }
}
