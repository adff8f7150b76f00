//! Traces: what a watch saw, in a file that is read back whole, cut off, or by other tools.
//!
//! A trace is JSON Lines in one gzip stream (`.jsonl.gz`): `zcat FILE | jq` reads it as it is. The stream is flushed
//! once a second, and by a `run` that is calm every two, so that a watcher that is killed loses at most the last seconds. Concatenated traces are a
//! trace of several runs: where one is cut off or broken, reading goes on with the header of the next.
//!
//! The first row is the [`Header`]: `{"schema":"memcli.trace/1",..}`; another one begins another run. Each row after it
//! is an object with one key that says what it is:
//!
//! | row | what it holds |
//! |---|---|
//! | `{"sample":{"t":1.2,"rss":..}}` | one sample: `t`, and what changed since the sample before |
//! | `{"processes":{"t":1.2,"rows":[..]}}` | a [`tree::ProcessesRow`]: the processes of the target, when they change and every ten seconds |
//! | `{"event":{"t":1.2,"seq":7,"level":{..}}}` | an [`EventRow`] |
//! | `{"end":{"exit_code":0,..}}` | the [`EndRow`]: the watch ended in order |
//!
//! Rows and keys that a reader does not know are passed over, so that later versions can add some.
//!
//! # Keys of a sample row
//!
//! `t` is seconds since the watch began, to a tenth of a millisecond. `wall` is by how many seconds the wall clock is ahead of
//! `started` + `t`, to the millisecond, when that changed. `gap` is `true` when the time before was not watched. `pss_at`
//! is the `t` at which the PSS was measured; since then it is an estimate. Every other key is a reading ([`fields::FIELDS`], [`fields::SHARES`]): sizes in bytes, shares from 0 to 1. A key that is
//! left out is as it was in the row before; before the first row nothing has been read. A value that could not be had is
//! `null`, and `absent` says why: `"pss":null,"absent":{"pss":"denied"}`.

mod ahead;
mod delta;
pub mod error;
pub mod fields;
mod import;
mod lines;
pub mod reader;
pub mod recorder;
pub mod rows;
pub mod tree;
mod unpack;
pub mod writer;

pub use delta::to_tick;
pub use error::{Damage, TraceError};
pub use reader::{Reader, Row};
pub use recorder::Recorder;
pub use rows::{EndRow, EventRow, Header};
pub use writer::Writer;

/// The name and version of this format.
pub const SCHEMA: &str = "memcli.trace/1";
