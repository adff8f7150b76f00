//! The table that a soak prints.

use std::fmt;

/// Rows of what was measured and what was promised.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    measured: String,
    promised: String,
    kept: bool,
}

impl Table {
    /// A figure that must be exactly `promised`.
    pub(crate) fn exactly(&mut self, what: &str, measured: u64, promised: u64) {
        self.row(what, measured.to_string(), promised.to_string(), measured == promised);
    }

    /// A figure of at most `promised`, shown by `show`.
    pub(crate) fn at_most(
        &mut self,
        what: &str,
        measured: u64,
        promised: u64,
        show: impl Fn(u64) -> String,
    ) {
        let kept = measured <= promised;
        self.row(what, show(measured), format!("at most {}", show(promised)), kept);
    }

    /// A figure of at least `promised`.
    pub(crate) fn at_least(&mut self, what: &str, measured: u64, promised: u64) {
        let kept = measured >= promised;
        self.row(what, measured.to_string(), format!("at least {promised}"), kept);
    }

    /// A figure that nothing is promised about.
    pub(crate) fn note(&mut self, what: &str, measured: impl fmt::Display) {
        self.row(what, measured.to_string(), String::new(), true);
    }

    fn row(&mut self, what: &str, measured: String, promised: String, kept: bool) {
        self.rows.push(Row { what: what.to_owned(), measured, promised, kept });
    }

    /// Whether every promise was kept.
    pub(crate) fn good(&self) -> bool {
        self.rows.iter().all(|row| row.kept)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| figure | measured | promised | kept |")?;
        writeln!(f, "| --- | ---: | ---: | --- |")?;
        for Row { what, measured, promised, kept } in &self.rows {
            let kept = match (promised.is_empty(), kept) {
                (true, _) => "",
                (_, true) => "yes",
                (_, false) => "NO",
            };
            writeln!(f, "| {what} | {measured} | {promised} | {kept} |")?;
        }
        Ok(())
    }
}
