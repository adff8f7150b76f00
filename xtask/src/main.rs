//! Placeholder: replaced by the workshop.
fn main() {}
