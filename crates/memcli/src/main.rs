//! Placeholder: replaced by the first commit of the command line.
fn main() {}
