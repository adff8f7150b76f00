//! Sizes, rates and durations as people write and read them.
//!
//! Code and JSON count bytes and seconds; these types stand where text comes in or goes out.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const KIB: f64 = 1024.0;

/// The units a size may carry. Bare `K`, `M`, `G` are powers of 1024, as systemd and the kernel have them.
const SIZE_UNITS: [(&str, u64); 19] = [
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
    ("e", 1 << 60),
    ("eib", 1 << 60),
    ("eb", 1_000_000_000_000_000_000),
];

/// What was wrong with a size, rate or duration somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not a size.
    #[error("invalid size `{text}`: expected a number and a unit, such as 512MiB, 2GiB or 1.5GB")]
    Size {
        /// What was written.
        text: String,
    },
    /// A size above what 64 bits can count.
    #[error("size `{text}` is too large: the most is 16 EiB")]
    SizeTooLarge {
        /// What was written.
        text: String,
    },
    /// Not a rate.
    #[error(
        "invalid rate `{text}`: expected a size per time, such as 50MiB/h, 1MiB/min or 200KiB/s"
    )]
    Rate {
        /// What was written.
        text: String,
    },
    /// Not a duration.
    #[error(
        "invalid duration `{text}`: expected a number and a unit, such as 500ms, 30s, 5m or 24h"
    )]
    Duration {
        /// What was written.
        text: String,
    },
}

/// A number of bytes as people write it: `512MiB`, `2GiB`, `1.5GB`, `512M`, `536870912`.
///
/// `{}` shows it rounded, in IEC units; [`Size::exact`] and serde write text that reads back as the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl Size {
    /// `n` KiB.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` MiB.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` GiB.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The shortest text that reads back as exactly this number, such as `3GiB` or `1025B`.
    #[must_use]
    pub fn exact(self) -> String {
        const UNITS: [(&str, u64); 4] =
            [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        for (name, factor) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return format!("{}{name}", self.0 / factor);
            }
        }
        format!("{}B", self.0)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let (value, unit) = scaled(self.0 as f64);
        f.pad(&format!("{value:.1} {unit}"))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let invalid = || UnitError::Size { text: text.to_owned() };
        let trimmed = text.trim();
        let digits =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let unit = unit.trim_start();
        let factor = if unit.is_empty() {
            1
        } else {
            let known = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
            known.ok_or_else(invalid)?.1
        };
        if number.is_empty() {
            return Err(invalid());
        }
        let too_large = || UnitError::SizeTooLarge { text: text.to_owned() };
        if number.bytes().all(|b| b.is_ascii_digit()) {
            // Only digits: the one way left to fail is a number that does not fit.
            let whole: u64 = number.parse().map_err(|_| too_large())?;
            return whole.checked_mul(factor).map(Size).ok_or_else(too_large);
        }
        let value: f64 = number.parse().map_err(|_| invalid())?;
        let bytes = (value * factor as f64).round();
        if bytes >= u64::MAX as f64 { Err(too_large()) } else { Ok(Size(bytes as u64)) }
    }
}

/// Bytes per second as people write it: `50MiB/h`, `1MiB/min`, `200KiB/s`. Always finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// `bytes` each second; a value that is not finite becomes 0.
    #[must_use]
    pub const fn per_second(bytes: f64) -> Self {
        Self(if bytes.is_finite() { bytes } else { 0.0 })
    }

    /// `mib` MiB each hour.
    #[must_use]
    pub const fn mib_per_hour(mib: f64) -> Self {
        Self::per_second(mib * 1_048_576.0 / 3600.0)
    }

    /// The bytes each second.
    #[must_use]
    pub const fn bytes_per_second(self) -> f64 {
        self.0
    }
}

impl Rate {
    /// This rate in the unit that reads best for `reference`, so that an interval shows in the unit of its middle.
    #[must_use]
    pub fn shown_like(self, reference: Rate) -> String {
        // The first of s, min, h in which at least 1 MiB moves.
        let (time, unit) = [(1.0, "s"), (60.0, "min"), (3600.0, "h")]
            .into_iter()
            .find(|(seconds, _)| reference.0.abs() * seconds >= KIB * KIB)
            .unwrap_or((3600.0, "h"));
        let (in_reference, size) = scaled(reference.0 * time);
        // The same number of bytes to the unit as in the reference.
        let unit_bytes = if in_reference == 0.0 { KIB } else { reference.0 * time / in_reference };
        format!("{:.1} {size}/{unit}", self.0 * time / unit_bytes)
    }
}

impl fmt::Display for Rate {
    /// In the unit of time that reads best: the first of s, min, h in which at least 1 MiB moves, else per hour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown_like(*self))
    }
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let invalid = || UnitError::Rate { text: text.to_owned() };
        let (size, time) = text.split_once('/').ok_or_else(invalid)?;
        let size: Size = size.parse().map_err(|_| invalid())?;
        let seconds = match time.trim() {
            "s" | "sec" | "second" => 1.0,
            "m" | "min" | "minute" => 60.0,
            "h" | "hour" => 3600.0,
            "d" | "day" => 86_400.0,
            _ => return Err(invalid()),
        };
        Ok(Rate(size.0 as f64 / seconds))
    }
}

/// Reads a duration that carries its unit: `500ms`, `30s`, `5m`, `1h 30m`.
///
/// # Errors
/// [`UnitError::Duration`] when `text` is anything else; a bare number has no unit and is refused.
#[cfg(feature = "config")]
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let invalid = || UnitError::Duration { text: text.to_owned() };
    // humantime takes a bare `0`; a duration without a unit is a slip whatever its number.
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    humantime::parse_duration(text.trim()).map_err(|_| invalid())
}

/// The text of a duration that reads back as the same duration: `1h 30m`.
#[cfg(feature = "config")]
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// A duration in at most two units, rounded to what matters: `4m 16s`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let text = match seconds {
            0 if self.0.as_millis() > 0 => format!("{} ms", self.0.as_millis()),
            0..60 => format!("{:.1} s", self.0.as_secs_f64()),
            60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
            3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
            _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
        };
        f.pad(&text)
    }
}

fn scaled(bytes: f64) -> (f64, &'static str) {
    const UNITS: [&str; 5] = ["MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes / KIB;
    let mut unit = "KiB";
    for next in UNITS {
        // 1023.95 would print as 1024.0.
        if value.abs() < 1023.95 {
            break;
        }
        value /= KIB;
        unit = next;
    }
    (value, unit)
}

#[cfg(feature = "config")]
mod text_form {
    use super::{Rate, Size};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    /// Accepts the text form, and for sizes a whole number of bytes.
    struct SizeVisitor;

    impl de::Visitor<'_> for SizeVisitor {
        type Value = Size;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a size such as \"512MiB\"")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
            text.parse().map_err(E::custom)
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
            Ok(Size(bytes))
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
            u64::try_from(bytes)
                .map(Size)
                .map_err(|_| E::custom(format!("a size cannot be negative: {bytes}")))
        }
    }

    impl<'de> Deserialize<'de> for Size {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(SizeVisitor)
        }
    }

    impl Serialize for Size {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.exact())
        }
    }

    impl<'de> Deserialize<'de> for Rate {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        }
    }

    impl Serialize for Rate {
        /// As whole bytes in the largest time unit that keeps it exact enough to read back: per hour.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let per_hour = (self.bytes_per_second() * 3600.0).round().max(0.0) as u64;
            serializer.serialize_str(&format!("{}/h", Size(per_hour).exact()))
        }
    }

    impl garde::rules::range::Bounds for Size {
        type Size = Size;
        const MIN: Size = Size(0);
        const MAX: Size = Size(u64::MAX);

        fn validate_bounds(
            &self,
            lower: Size,
            upper: Size,
        ) -> Result<(), garde::rules::range::OutOfBounds> {
            use garde::rules::range::OutOfBounds;
            if *self < lower {
                Err(OutOfBounds::Lower)
            } else if *self > upper {
                Err(OutOfBounds::Upper)
            } else {
                Ok(())
            }
        }
    }
}

/// `#[serde(with = "memtrack::units::duration")]` for [`Duration`] fields written as `30s` or `24h`.
#[cfg(feature = "config")]
pub mod duration {
    use super::{Duration, format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// # Errors
    /// When the value is not text that [`parse_duration`] reads.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse_duration(&text).map_err(de::Error::custom)
    }

    /// # Errors
    /// Only the serializer's own.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*value))
    }

    /// The same for `Option<Duration>`; pair it with `#[serde(default)]`.
    pub mod option {
        use super::{Deserializer, Duration, Serializer};

        /// # Errors
        /// When a present value is not text that [`super::parse_duration`] reads.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }

        /// # Errors
        /// Only the serializer's own.
        pub fn serialize<S: Serializer>(
            value: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("512 mib", 512 << 20),
            ("512M", 512 << 20),
            ("1.5GB", 1_500_000_000),
            ("10 GB", 10_000_000_000),
            ("10 GiB", 10 << 30),
            ("536870912", 536_870_912),
            ("0", 0),
            ("0.5KiB", 512),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "", "MiB", "512Mo", "-5MiB", "1e9", "NaN", "inf", "1..5MiB", "5 M i B", "5MiB/s",
            "０MiB",
        ] {
            assert!(matches!(text.parse::<Size>(), Err(UnitError::Size { .. })), "{text}");
        }
        for text in ["99999999999999999999", "17EiB", "16.0EiB"] {
            assert!(matches!(text.parse::<Size>(), Err(UnitError::SizeTooLarge { .. })), "{text}");
        }
    }

    #[test]
    fn sizes_and_rates_show_in_the_unit_that_reads_best() {
        assert_eq!(Size(0).to_string(), "0 B");
        assert_eq!(Size(1023).to_string(), "1023 B");
        assert_eq!(Size::mib(61).to_string(), "61.0 MiB");
        assert_eq!(Size(1024 * 1024 - 1).to_string(), "1.0 MiB");
        assert_eq!(format!("{:>10}", Size::gib(4)), "   4.0 GiB");
        assert_eq!(Rate::per_second(2.0 * 1_048_576.0).to_string(), "2.0 MiB/s");
        assert_eq!(Rate::mib_per_hour(50.0).to_string(), "50.0 MiB/h");
        assert_eq!(Rate::mib_per_hour(600.0).to_string(), "10.0 MiB/min");
        assert_eq!(Rate::mib_per_hour(0.5).to_string(), "512.0 KiB/h");
        assert_eq!(Rate::per_second(-2.0 * 1_048_576.0).to_string(), "-2.0 MiB/s");
        assert_eq!(Rate::per_second(0.0).to_string(), "0.0 KiB/h");
        assert_eq!(Rate::mib_per_hour(2.0).shown_like(Rate::per_second(5e6)), "0.0 MiB/s");
        assert_eq!(Rate::mib_per_hour(120.0).shown_like(Rate::mib_per_hour(600.0)), "2.0 MiB/min");
    }

    #[test]
    fn rates_read_with_their_time() {
        assert_eq!("50MiB/h".parse(), Ok(Rate::mib_per_hour(50.0)));
        assert_eq!("1 MiB / min".parse(), Ok(Rate::mib_per_hour(60.0)));
        for text in ["50MiB", "50MiB/", "/h", "50Mo/h", "-1MiB/h", "50MiB/fortnight"] {
            assert!(matches!(text.parse::<Rate>(), Err(UnitError::Rate { .. })), "{text}");
        }
    }

    #[test]
    fn spans_keep_two_units() {
        assert_eq!(Span(Duration::from_millis(250)).to_string(), "250 ms");
        assert_eq!(Span(Duration::from_millis(20_040)).to_string(), "20.0 s");
        assert_eq!(Span(Duration::from_secs(256)).to_string(), "4 min 16 s");
        assert_eq!(Span(Duration::from_secs(93_600)).to_string(), "1 d 2 h");
        assert_eq!(Span(Duration::ZERO).to_string(), "0.0 s");
    }

    #[cfg(feature = "config")]
    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5_400)));
        for text in ["", "0", "30", "-5s", "5 parsecs", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn exact_sizes_read_back(bytes: u64) {
            prop_assert_eq!(Size(bytes).exact().parse(), Ok(Size(bytes)));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Size>();
            let _ = text.parse::<Rate>();
            #[cfg(feature = "config")]
            let _ = parse_duration(&text);
        }

        #[test]
        fn more_bytes_never_show_as_less(a: u64, b: u64) {
            let (low, high) = (a.min(b), a.max(b));
            let shown = |bytes: u64| Size(bytes).to_string().replace(' ', "").parse::<Size>().unwrap_or(Size(u64::MAX));
            prop_assert!(shown(low) <= shown(high));
        }

        #[cfg(feature = "config")]
        #[test]
        fn durations_read_back(seconds in 0u64..1_000_000_000, nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
