//! Recordings of other tools: mprof's `.dat`, psrecord's log, and CSV.

use std::time::{Duration, SystemTime};

use memtrack::{Sample, Stamp};

use crate::output::screen::harmless;
use crate::trace::fields::FIELDS;

const MIB: f64 = 1_048_576.0;
/// From here on a time is seconds since 1970 and not since the beginning (2001-09-09).
const EPOCH_FROM: f64 = 1e9;
/// The most seconds that are taken for a time (year 5138); above are milliseconds, or nonsense.
const MOST_SECONDS: f64 = 1e11;

/// The most seconds that a wall clock is believed to have been set back by, in a table.
const CLOCK_STEP: f64 = 1.0;
/// A recording tool's clock was set forward when a line is this many seconds
const LEAP: f64 = 3600.0;
/// and this many times the usual distance after the one before. A machine that slept looks the same, and nothing grew in that time.
const LEAP_TIMES: f64 = 100.0;

/// One of the formats that can be imported, and how far it has been read.
#[derive(Debug)]
pub(super) struct Import {
    format: Format,
    /// The time of the first sample, as the file has it.
    first: Option<f64>,
    last: Duration,
    /// What the clock of a recording tool was set by.
    clock: Clock,
    /// The command, where the format tells it.
    pub(super) command: Option<Vec<String>>,
}

/// A wall clock that is read for the time since the beginning, and may be set meanwhile.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// What it said last.
    last: Option<f64>,
    /// The last distance of two lines that was no step.
    spacing: f64,
    /// What the steps come to so far.
    shift: f64,
    /// How often it was set.
    steps: u64,
}

impl Clock {
    /// The time of a line by the clock as it was at the beginning: a step counts as the distance of the lines before it.
    fn steady(&mut self, time: f64) -> f64 {
        let step = time - self.last.replace(time).unwrap_or(time);
        let usual = self.spacing;
        if step < 0.0 || (usual > 0.0 && step > LEAP.max(LEAP_TIMES * usual)) {
            self.shift += step - usual;
            self.steps += 1;
        } else if step > 0.0 {
            self.spacing = step;
        }
        time - self.shift
    }
}

#[derive(Debug)]
enum Format {
    /// `MEM <MiB> <seconds since 1970>`.
    Mprof,
    /// `seconds  CPU %  resident MiB  virtual MiB`; the header calls MiB "MB".
    Psrecord,
    /// Columns by name.
    Columns { delimiter: char, columns: Vec<Column> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Column {
    Time,
    /// Index into [`FIELDS`], and what one unit of the column counts.
    Reading(usize, f64),
    /// A size that might be in anything.
    NoUnit,
    Other,
}

impl Import {
    /// What the first line of a file says that it is.
    ///
    /// The second value is whether that line is itself a line of data.
    ///
    /// # Errors
    /// Why it is nothing that can be read.
    pub(super) fn detect(first: &str) -> Result<(Self, bool), String> {
        let first = first.trim();
        let of = |format| Self {
            format,
            first: None,
            last: Duration::ZERO,
            clock: Clock::default(),
            command: None,
        };
        if let Some(command) = first.strip_prefix("CMDLINE ") {
            let command = command.split_whitespace().map(harmless).collect();
            return Ok((Self { command: Some(command), ..of(Format::Mprof) }, false));
        }
        if first.starts_with("MEM ") {
            return Ok((of(Format::Mprof), true));
        }
        if first.starts_with('#') && first.contains("Real (MB)") {
            return Ok((of(Format::Psrecord), false));
        }
        let unknown = "its first line is neither a header of a trace nor the names of columns";
        let delimiter = [',', ';', '\t'].into_iter().find(|c| first.contains(*c)).ok_or(unknown)?;
        let cells: Vec<&str> = first.split(delimiter).map(cell).collect();
        if cells.iter().all(|cell| number(cell).is_ok()) {
            let columns = vec![Column::Time, Column::Reading(0, 1.0)];
            return Ok((of(Format::Columns { delimiter, columns }), true));
        }
        let columns: Vec<Column> = cells.iter().map(|cell| column(cell)).collect();
        let has = |what: fn(&Column) -> bool| columns.iter().any(what);
        if !has(|c| *c == Column::Time) {
            return Err(unknown.into());
        }
        if !has(|c| matches!(c, Column::Reading(..))) {
            let unit = cells.iter().zip(&columns).find(|(_, column)| **column == Column::NoUnit);
            return Err(unit.map_or(unknown.into(), |(name, _)| {
                let name = harmless(name);
                format!(
                    "its column `{name}` does not say in which unit: call it `{name}_bytes`, \
                     `{name}_kib` or `{name}_mib`"
                )
            }));
        }
        Ok((of(Format::Columns { delimiter, columns }), false))
    }

    /// The name of the tool, for the header.
    pub(super) fn tool(&self) -> &'static str {
        match self.format {
            Format::Mprof => "mprof",
            Format::Psrecord => "psrecord",
            Format::Columns { .. } => "CSV",
        }
    }

    /// Whether a last line without its end is a line all the same. mprof ends every one, so there it is a piece.
    pub(super) fn takes_half_lines(&self) -> bool {
        matches!(self.format, Format::Columns { .. })
    }

    /// The wall clock at the first sample, where the format tells it.
    pub(super) fn started(&self) -> SystemTime {
        let since = self.first.filter(|first| *first >= EPOCH_FROM).unwrap_or(0.0);
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(since)
    }

    /// How often the clock was set that the times are of; each of those lines then follows at the usual distance.
    pub(super) fn clock_steps(&self) -> u64 {
        self.clock.steps
    }

    /// The sample of a line; `None` for a line that has none, such as a comment.
    pub(super) fn line(&mut self, line: &str) -> Result<Option<Sample>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        match &self.format {
            Format::Mprof => {
                let mut words = line.split_ascii_whitespace();
                // Others tell of functions (`FUNC`) and of single children (`CHLD`).
                if words.next() != Some("MEM") {
                    return Ok(None);
                }
                let (Some(mib), Some(time)) = (words.next(), words.next()) else {
                    return Err("`MEM` without a size and a time".into());
                };
                let bytes = size(mib, MIB)?;
                self.sample(seconds(time)?, |sample| sample.process.rss = Ok(bytes))
            }
            Format::Psrecord => {
                let mut words = line.split_ascii_whitespace();
                let (Some(time), Some(_), Some(mib)) = (words.next(), words.next(), words.next())
                else {
                    return Err("fewer than three columns".into());
                };
                let bytes = size(mib, MIB)?;
                self.sample(seconds(time)?, |sample| sample.process.rss = Ok(bytes))
            }
            Format::Columns { delimiter, columns } => {
                let mut time = None;
                let mut readings = Vec::new();
                // A decimal comma would shift every cell after it.
                if line.split(*delimiter).skip(columns.len()).any(|text| !cell(text).is_empty()) {
                    let (cells, columns) = (line.split(*delimiter).count(), columns.len());
                    return Err(format!(
                        "{cells} cells in {columns} columns: write 1.5 and not 1,5"
                    ));
                }
                for (text, column) in line.split(*delimiter).map(cell).zip(columns) {
                    match column {
                        Column::Time => time = Some(seconds(text)?),
                        Column::Reading(field, unit) if !text.is_empty() => {
                            readings.push((*field, size(text, *unit)?));
                        }
                        _ => {}
                    }
                }
                let time = time.ok_or("no time")?;
                self.sample(time, |sample| {
                    for (field, value) in readings {
                        *(FIELDS[field].of)(sample) = Ok(value);
                    }
                })
            }
        }
    }

    fn sample(
        &mut self,
        time: f64,
        fill: impl FnOnce(&mut Sample),
    ) -> Result<Option<Sample>, String> {
        let first = *self.first.get_or_insert(time);
        let table = matches!(self.format, Format::Columns { .. });
        let time = if table { time } else { self.clock.steady(time) };
        let since = Duration::from_secs_f64((time - first).max(0.0));
        // A tool that records cannot go back, but for the wall clock it reads; a table may be in any order.
        let back = first + self.last.as_secs_f64() - time;
        if table && back > CLOCK_STEP {
            return Err(format!("its time goes back by {back:.1} s: sort the rows by time"));
        }
        let since = since.max(self.last);
        self.last = since;
        let wall = self.started() + since;
        let mut sample = Sample::empty(Stamp { monotonic: since, wall, gap: false });
        fill(&mut sample);
        Ok(Some(sample))
    }
}

/// What a column holds, by its name: a time, or a reading under the name that `report -f csv` gives it, with its unit as
/// a suffix.
fn column(name: &str) -> Column {
    let name = name.to_ascii_lowercase();
    if matches!(
        &*name,
        "t_s" | "t" | "time_s" | "time" | "timestamp" | "seconds" | "elapsed" | "elapsed_s"
    ) {
        return Column::Time;
    }
    const UNITS: [(&str, f64); 9] = [
        ("_bytes", 1.0),
        ("_b", 1.0),
        ("_kib", 1024.0),
        ("_kb", 1e3),
        ("_mib", MIB),
        ("_mb", 1e6),
        ("_gib", MIB * 1024.0),
        ("_gb", 1e9),
        ("", 1.0),
    ];
    // The whole name first: `minor_faults` has no unit.
    if let Some(field) = FIELDS.iter().position(|field| field.name == name) {
        return Column::Reading(field, 1.0);
    }
    for (suffix, unit) in UNITS {
        let stem = match name.strip_suffix(suffix) {
            Some("mem" | "memory" | "mem_usage") => "rss",
            Some(stem) => stem,
            None => continue,
        };
        let named = |field: &crate::trace::fields::Field| {
            field.key == stem || field.name.strip_suffix("_bytes") == Some(stem)
        };
        if let Some(field) = FIELDS.iter().position(named) {
            let unknown = suffix.is_empty() && FIELDS[field].name.ends_with("_bytes");
            return if unknown { Column::NoUnit } else { Column::Reading(field, unit) };
        }
    }
    Column::Other
}

fn cell(text: &str) -> &str {
    text.trim().trim_matches('"')
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("`{}` is no number", text.chars().take(40).collect::<String>())),
    }
}

/// Seconds since the beginning or since 1970, or an RFC 3339 time.
fn seconds(text: &str) -> Result<f64, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        return Ok(since.as_secs_f64());
    }
    let seconds = number(text)?;
    if (0.0..=MOST_SECONDS).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("a time that is not in seconds since the beginning or since 1970".into())
    }
}

fn size(text: &str, unit: f64) -> Result<u64, String> {
    if unit == 1.0
        && let Ok(bytes) = text.parse()
    {
        return Ok(bytes);
    }
    let bytes = number(text)? * unit;
    if (0.0..u64::MAX as f64).contains(&bytes) {
        Ok(bytes.round() as u64)
    } else {
        Err(format!("`{}` is no size", text.chars().take(40).collect::<String>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(text: &str) -> Vec<(f64, Option<u64>)> {
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        let (mut import, is_data) = Import::detect(first).unwrap();
        let first = is_data.then_some(first);
        first
            .into_iter()
            .chain(lines)
            .filter_map(|line| import.line(line).unwrap())
            .map(|sample| (sample.at.monotonic.as_secs_f64(), sample.process.rss.ok()))
            .collect()
    }

    #[test]
    fn mprof_samples_are_mib_at_wall_times_and_other_lines_are_passed_over() {
        let text = "CMDLINE python x.py\nMEM 1.5 1690000000.25\nCHLD 7 3.0 1690000000.25\n\
                    FUNC f 1 2 3 4\nMEM 2.0 1690000000.75\n";
        assert_eq!(samples(text), [(0.0, Some(1_572_864)), (0.5, Some(2 << 20))]);
        let (import, _) = Import::detect("CMDLINE python x.py").unwrap();
        assert_eq!(import.command.unwrap(), ["python", "x.py"]);
    }

    #[test]
    fn psrecord_calls_mib_mb() {
        let text =
            "# Elapsed time   CPU (%)     Real (MB)   Virtual (MB)\n  0.010  12.000  3.000  9.0\n";
        assert_eq!(samples(text), [(0.0, Some(3 << 20))]);
    }

    #[test]
    fn csv_finds_its_columns_by_name_and_unit() {
        for text in [
            "t_s,rss_bytes\n0,1048576\n1,2097152\n",
            "0,1048576\n1,2097152",
            "elapsed;cpu;\"RSS_MiB\"\n10.0;3;1\n11.0;4;2\n",
            "timestamp\tmem_kib\n2026-11-21T03:00:00Z\t1024\n2026-11-21T03:00:01Z\t2048\n",
        ] {
            assert_eq!(samples(text), [(0.0, Some(1 << 20)), (1.0, Some(2 << 20))], "{text}");
        }
        assert_eq!(samples("t_s,rss_bytes\n0,\n"), [(0.0, None)]);
    }

    #[test]
    fn what_is_no_recording_is_not_taken_for_one() {
        for text in ["hello", "name,colour", "", "t_s,colour", "PNG\r"] {
            assert!(Import::detect(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_clock_that_steps_back_stands_still() {
        let text = "MEM 1 1690000010\nMEM 2 1690000000\n";
        assert_eq!(samples(text), [(0.0, Some(1 << 20)), (0.0, Some(2 << 20))]);
    }

    #[test]
    fn a_clock_that_is_set_does_not_make_the_rest_one_instant() {
        let (mut import, _) = Import::detect("MEM 1 0").unwrap();
        let mut at = |time: f64| {
            let sample = import.line(&format!("MEM 1 {time}")).unwrap().unwrap();
            (sample.at.monotonic.as_secs_f64() * 10.0).round() / 10.0
        };
        // One line a day ahead, and an hour back later on.
        let times = [0.0, 0.5, 1.0, 86_400.0, 2.0, 2.5, -3600.0, -3599.5].map(|t| at(1.69e9 + t));
        assert_eq!(times, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
        assert_eq!(import.clock_steps(), 3);
    }

    #[test]
    fn a_row_with_a_decimal_comma_is_refused() {
        let (mut import, _) = Import::detect("t_s,rss_mb").unwrap();
        let why = import.line("0,1,5").unwrap_err();
        assert!(why.starts_with("3 cells in 2 columns"), "{why}");
        // A delimiter at the end is the habit of some.
        assert!(import.line("0,1,").is_ok());
    }

    #[test]
    fn a_size_without_a_unit_is_not_taken_for_bytes() {
        for (text, name) in [("time,mem", "mem"), ("t_s,rss", "rss"), ("t;\"memory\"", "memory")] {
            let why = Import::detect(text).unwrap_err();
            assert!(why.contains(&format!("`{name}_mib`")), "{text}: {why}");
        }
        // What is counted needs none, and one size with a unit is enough.
        assert!(Import::detect("t_s,processes").is_ok());
        assert_eq!(samples("t_s,mem,rss_kib\n0,9,1024\n"), [(0.0, Some(1 << 20))]);
    }

    #[test]
    fn a_table_that_is_not_in_the_order_of_time_is_refused() {
        let (mut import, _) = Import::detect("t_s,rss_bytes").unwrap();
        assert!(import.line("20,1").is_ok() && import.line("21,1").is_ok());
        assert!(import.line("20.5,1").is_ok(), "a clock may be set back a little");
        let why = import.line("19.5,1").unwrap_err();
        assert!(why.contains("goes back by 1.5 s"), "{why}");
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let (mut import, _) = Import::detect("t_s,rss_mib").unwrap();
        for line in ["x,1", "-1,1", "1,-1", "1,1e300", "nan,1", "1,inf", "1e300,1", ","] {
            assert!(import.line(line).is_err(), "{line}");
        }
    }
}
