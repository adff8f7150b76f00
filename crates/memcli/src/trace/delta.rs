//! A sample as the row of what changed since the one before, and back.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use memtrack::config::MAX_INTERVAL;
use memtrack::{Absent, Reading, Sample, Span, Stamp};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::trace::fields::{FIELDS, Field, SHARES, Share, reason, word};

/// The most seconds since the beginning that a row may have: thirty years.
const MOST_SECONDS: f64 = 1e9;
/// The first and the last wall clock that can be written as RFC 3339, in seconds since the epoch: 1970 to 9999.
const LAST_WALL: Duration = Duration::from_secs(253_402_300_799);

/// The longest time between two rows that is believed without a word on a gap: five of the longest intervals, from which on the
/// sampler itself calls it one.
const LONGEST_STEP: Duration = MAX_INTERVAL.saturating_mul(5);

/// The resolution of `t`, in nanoseconds: a tenth of a millisecond, a fiftieth of the shortest interval. More digits
/// would be the jitter of the scheduler, and cost a twentieth of the file.
const TICK: u128 = 100_000;
const TICKS_PER_SECOND: f64 = 1e4;

/// What the next row is told against.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The readings of the row before.
    last: Sample,
    /// There was a row before.
    begun: bool,
    /// The wall clock when the watch began.
    started: SystemTime,
    /// Milliseconds by which the wall clock was ahead of `started` + `t`.
    ahead_ms: i64,
}

impl State {
    pub(super) fn new(started: SystemTime) -> Self {
        let last = Sample::empty(Stamp::synthetic(Duration::ZERO));
        Self { last, begun: false, started, ahead_ms: 0 }
    }

    /// The row of `sample`, which from now on is the one before.
    pub(super) fn row(&mut self, sample: &Sample) -> SampleRow {
        let before = std::mem::replace(&mut self.last, *sample);
        let ahead_ms = ahead_ms(self.started, sample.at);
        let ahead = (ahead_ms != self.ahead_ms).then_some(ahead_ms);
        self.ahead_ms = ahead_ms;
        SampleRow { before, now: *sample, ahead }
    }

    fn wall(&self, monotonic: Duration) -> SystemTime {
        let ahead = Duration::from_millis(self.ahead_ms.unsigned_abs());
        let wall = self.started.checked_add(monotonic).and_then(|wall| {
            if self.ahead_ms < 0 { wall.checked_sub(ahead) } else { wall.checked_add(ahead) }
        });
        let told = |wall: &SystemTime| {
            wall.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since <= LAST_WALL)
        };
        wall.filter(told).unwrap_or(self.started)
    }
}

fn ahead_ms(started: SystemTime, at: Stamp) -> i64 {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let expected = started.checked_add(at.monotonic).unwrap_or(started);
    match at.wall.duration_since(expected) {
        Ok(ahead) => ms(ahead),
        Err(behind) => ms(behind.duration()).saturating_neg(),
    }
}

/// The body of a sample row, to be written.
pub(super) struct SampleRow {
    before: Sample,
    now: Sample,
    ahead: Option<i64>,
}

impl Serialize for SampleRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut before, mut now) = (self.before, self.now);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("t", &seconds(ticks(now.at.monotonic)))?;
        if let Some(ms) = self.ahead {
            map.serialize_entry("wall", &(ms as f64 / 1e3))?;
        }
        if now.at.gap {
            map.serialize_entry("gap", &true)?;
        }
        let mut absent = Vec::new();
        for Field { key, of, .. } in FIELDS {
            let (before, now) = (*of(&mut before), *of(&mut now));
            if now == before {
                continue;
            }
            map.serialize_entry(key, &now.ok())?;
            absent.extend(now.err().map(|why| (key, why)));
        }
        for Share { key, of } in SHARES {
            let (before, now) = (*of(&mut before), *of(&mut now));
            // What is no number cannot be written, and was not measured.
            let now = now.and_then(|x| if x.is_finite() { Ok(x) } else { Err(Absent::Malformed) });
            if now == before {
                continue;
            }
            map.serialize_entry(key, &now.ok())?;
            absent.extend(now.err().map(|why| (key, why)));
        }
        let measured = measured(&now);
        if measured != self::measured(&before) {
            map.serialize_entry(PSS_AT, &measured.ok().map(seconds))?;
            absent.extend(measured.err().map(|why| (PSS_AT, why)));
        }
        if !absent.is_empty() {
            map.serialize_entry("absent", &Reasons(&absent))?;
        }
        map.end()
    }
}

/// The key of the time at which the PSS was measured. Its age changes with every sample, this does not.
const PSS_AT: &str = "pss_at";

/// The time that a trace keeps of `time`. A watch that judges by it is judged the same when it is replayed.
#[must_use]
pub fn to_tick(time: Duration) -> Duration {
    u64::try_from(ticks(time))
        .map_or(time, |ticks| Duration::from_micros(ticks.saturating_mul(100)))
}

/// When the PSS was measured, in ticks; before the beginning of the watch it is negative.
fn measured(sample: &Sample) -> Reading<i128> {
    sample.process.pss_age.map(|age| ticks(sample.at.monotonic) - ticks(age))
}

fn ticks(time: Duration) -> i128 {
    // At most 2^64 seconds: far within the range.
    ((time.as_nanos() + TICK / 2) / TICK) as i128
}

fn seconds(ticks: i128) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

struct Reasons<'a>(&'a [(&'static str, Absent)]);

impl Serialize for Reasons<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, why)| (key, word(*why))))
    }
}

/// Reads the body of a sample row into the state: [`State::last`] is then that sample.
pub(super) struct Read<'a>(pub(super) &'a mut State);

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Sample;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Sample, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Sample;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the readings of a sample")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sample, A::Error> {
        let state = self.0;
        let (mut t, mut gap) = (None, false);
        // Until the row says otherwise it is of the time it was.
        let before = state.last.at.monotonic;
        let mut pss_at =
            state.last.process.pss_age.map(|age| before.as_secs_f64() - age.as_secs_f64());
        while let Some(key) = map.next_key_seed(Text)? {
            match &*key {
                "t" => t = Some(map.next_value::<f64>()?),
                "gap" => gap = map.next_value()?,
                "wall" => {
                    // `as` saturates, and a wall clock that cannot be is put right below.
                    state.ahead_ms = (map.next_value::<f64>()? * 1e3).round() as i64;
                }
                PSS_AT => put(&mut pss_at, map.next_value()?),
                "absent" => map.next_value_seed(ReadReasons(&mut state.last, &mut pss_at))?,
                key => {
                    if let Some(reading) = whole(&mut state.last, key) {
                        put(reading, map.next_value()?);
                    } else if let Some(reading) = share(&mut state.last, key) {
                        put(reading, map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
        }
        let seconds = t.ok_or_else(|| A::Error::missing_field("t"))?;
        if !(0.0..=MOST_SECONDS).contains(&seconds) {
            return Err(A::Error::custom("`t` is no time since the beginning"));
        }
        let monotonic = Duration::from_micros(100 * (seconds * TICKS_PER_SECOND).round() as u64);
        // The monotonic clock does neither, so these are no times of one watch.
        match monotonic.checked_sub(before) {
            None => return Err(A::Error::custom("`t` goes back")),
            Some(step) if state.begun && !gap && step > LONGEST_STEP => {
                let step = Span(step);
                return Err(A::Error::custom(format!("`t` leaps by {step} and no gap is told")));
            }
            Some(_) => state.begun = true,
        }
        state.last.process.pss_age = pss_at.map(|at| {
            let age = (seconds - at) * TICKS_PER_SECOND;
            // `as` saturates: an age below 0 or beyond all time is put right.
            Duration::from_micros((age.round() as u64).saturating_mul(100))
        });
        state.last.at = Stamp { monotonic, wall: state.wall(monotonic), gap };
        Ok(state.last)
    }
}

fn whole<'a>(sample: &'a mut Sample, key: &str) -> Option<&'a mut Reading<u64>> {
    FIELDS.iter().find(|field| field.key == key).map(|field| (field.of)(sample))
}

fn share<'a>(sample: &'a mut Sample, key: &str) -> Option<&'a mut Reading<f64>> {
    SHARES.iter().find(|share| share.key == key).map(|share| (share.of)(sample))
}

/// A `null` keeps a reason that `absent` has given already: the order of keys says nothing.
fn put<T>(reading: &mut Reading<T>, value: Option<T>) {
    match value {
        Some(value) => *reading = Ok(value),
        None if reading.is_ok() => *reading = Err(Absent::NotRead),
        None => {}
    }
}

struct ReadReasons<'a>(&'a mut Sample, &'a mut Reading<f64>);

impl<'de> DeserializeSeed<'de> for ReadReasons<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadReasons<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reasons by key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Text)? {
            let why = reason(&map.next_value_seed(Text)?);
            if key == PSS_AT {
                *self.1 = Err(why);
            }
            if let Some(reading) = whole(self.0, &key) {
                *reading = Err(why);
            } else if let Some(reading) = share(self.0, &key) {
                *reading = Err(why);
            }
        }
        Ok(())
    }
}

/// A string, borrowed where the row has it without escapes.
pub(super) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
