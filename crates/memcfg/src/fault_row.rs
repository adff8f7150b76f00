//! Rows of the table of `cargo xtask faults`, from tests that need what is private here.

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Display;

    /// Prints one row; see `tests/faults/support.rs`.
    pub(crate) fn row(number: &str, fault: &str, runs: impl Display, found: impl Display) {
        println!("fault-row: {number} | {fault} | {runs} | {found}");
    }
}
