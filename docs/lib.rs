//! The Rust of the documentation, compiled and run as doc tests.
//!
//! A page with a `rust` block is named here; `cargo xtask book` fails when one is missing.
#![forbid(unsafe_code)]

#[doc = include_str!("guide/embedding.md")]
pub mod embedding {}
