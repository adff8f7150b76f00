//! The built binary as its users meet it. One test binary: it links once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a panic here is a failed test"
)]

mod alerts;
mod completions;
mod config;
mod config_edit;
mod control;
mod detached;
mod judged;
mod live;
mod look;
mod main_job;
mod newcomer;
mod of_the_time;
mod outcomes;
mod reference;
mod rooms;
mod runs;
mod schemas;
mod snapshots;
mod support;
mod surprises;
mod terminal;
mod told;
