//! Text with units, as the layers read it.

use std::time::Duration;

use mempressure::config::BudgetTotal;
use memtrack::units::parse_duration;
use memtrack::{Rate, Size};

use crate::schema::{Form, Kind};

/// A size: `512MiB`, or whole bytes.
pub(super) static SIZE: Form = Form {
    name: "size",
    example: "512MiB",
    pattern: r"^\s*[0-9]+(\.[0-9]*)?\s*([KkMmGgTtPpEe]([Ii]?[Bb])?|[Bb])?\s*$",
    integers: true,
    measure: |text| {
        text.parse::<Size>().map(|size| Some(size.bytes() as f64)).map_err(|e| e.to_string())
    },
    show: show_size,
};

/// A budget: a size, or a share of the limit.
pub(super) static TOTAL: Form = Form {
    name: "size (or a percentage of the limit, such as \"50%\")",
    example: "3GiB",
    pattern: r"^\s*[0-9]+(\.[0-9]*)?\s*(%|[KkMmGgTtPpEe]([Ii]?[Bb])?|[Bb])?\s*$",
    integers: true,
    measure: |text| match text.parse() {
        Ok(BudgetTotal::Size(size)) => Ok(Some(size.bytes() as f64)),
        Ok(BudgetTotal::Percent(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    },
    show: show_size,
};

/// A duration: `30s`, `1h 30m`.
pub(super) static DURATION: Form = Form {
    name: "duration",
    example: "30s",
    pattern: r"^\s*([0-9]+\s*[a-zA-Z]+\s*)+$",
    integers: false,
    measure: |text| parse_duration(text).map(|d| Some(d.as_secs_f64())).map_err(|e| e.to_string()),
    show: show_seconds,
};

/// A rate: `50MiB/h`.
pub(super) static RATE: Form = Form {
    name: "rate",
    example: "50MiB/h",
    pattern: r"^.+/\s*(s|sec|second|m|min|minute|h|hour|d|day)\s*$",
    integers: false,
    measure: |text| {
        text.parse::<Rate>().map(|rate| Some(rate.bytes_per_second())).map_err(|e| e.to_string())
    },
    show: |rate| match (rate * 3600.0) as u64 {
        0 => "1B/d".to_owned(),
        per_hour => format!("{}/h", Size(per_hour).exact()),
    },
};

fn show_size(bytes: f64) -> String {
    Size(bytes as u64).exact()
}

/// In the largest unit that is exact; `humantime` would say `1month 13h 26m 24s` for 31 days.
fn show_seconds(seconds: f64) -> String {
    const UNITS: [(&str, u128); 4] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let millis = duration.as_millis();
    match UNITS.iter().find(|(_, unit)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", millis / unit),
        None if millis > 0 => format!("{millis}ms"),
        None => "0s".to_owned(),
    }
}

/// A size between two.
pub(super) fn size(min: Size, max: Size) -> Kind {
    Kind::Form { form: &SIZE, min: min.bytes() as f64, max: max.bytes() as f64 }
}

/// Any size.
pub(super) fn any_size() -> Kind {
    Kind::Form { form: &SIZE, min: 0.0, max: f64::INFINITY }
}

/// A duration between two.
pub(super) fn duration(min: Duration, max: Duration) -> Kind {
    Kind::Form { form: &DURATION, min: min.as_secs_f64(), max: max.as_secs_f64() }
}

/// Any rate above 0.
pub(super) fn rate() -> Kind {
    Kind::Form { form: &RATE, min: 1.0 / 86_400.0, max: f64::INFINITY }
}
