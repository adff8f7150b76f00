//! What the store is made of.
//!
//! It stands apart so that `tests/schedules.rs` can build the very same `store.rs` on a scheduler that tries out how threads
//! may interleave.

pub(crate) use std::sync::Mutex;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use arc_swap::{ArcSwap, Guard};
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
