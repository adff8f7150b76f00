//! The search for growth without a bound: windows over the end of a segment, longest first, then lives, then cycles.

use crate::growth::{Finding, Growth, QUICK_SHARE, grows, growth};
use crate::judge::Judge;
use crate::known::Known;
use crate::pool::{LIVES, rising_floor};
use crate::season::season;
use crate::segment::Past;
use crate::trend::slope;
use crate::tuning::Tuning;
use crate::window::{History, POINTS, Window};

/// Windows are the last of these shares of a segment: the longest that shows growth has the most evidence.
const SHARES: [f64; 5] = [1.0, 0.7, 0.5, 0.35, 0.25];
/// Falls that ended segments count as swings as long as growth has not gone on this many times as long as such a swing
/// stood more than halfway up: a spike of minutes says nothing about a rise of half a day.
const OUTLASTS: f64 = 6.0;
/// Growth below this share of that of an equal stretch before is dying down,
const SLOWS: f64 = 0.6;
/// which windows up to this share of the segment are tested for.
const SLOWS_UP_TO: f64 = 0.5;
/// A cycle is looked for in segments of this many shortest windows.
const SEASON_FROM: f64 = 4.0;
/// The newest part of a window is this share of it.
const NEWEST: f64 = 0.25;

/// The window that showed growth at the last look that saw any.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Hit {
    /// Seconds of the window's start.
    pub(crate) from: f64,
    /// Share of the segment.
    pub(crate) share: f64,
    /// Period and rate, when the growth was found from cycle to cycle.
    pub(crate) season: Option<(f64, f64)>,
    /// It was found from life to life.
    pub(crate) lives: bool,
}

/// What a search looks at.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    pub(crate) history: &'a History,
    pub(crate) pasts: &'a [Past],
    /// Seconds of the shortest window.
    pub(crate) hold: f64,
    /// It is a chapter of a life, and no life of its own.
    pub(crate) chapter: bool,
    /// The swing that a former life has shown, or this one before the chapter, in bytes.
    pub(crate) swing: f64,
    /// Growth below this many bytes is none.
    pub(crate) least: f64,
    /// The margins.
    pub(crate) tuning: &'a Tuning,
}

/// Growth that a search found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) hit: Hit,
    pub(crate) growth: Growth,
    /// The window that shows it.
    pub(crate) window: Box<Window>,
}

/// What a search saw.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    /// The longest window that grows, or growth over lives or cycles.
    pub(crate) found: Option<Found>,
    /// What the later half of the segment showed; `None` when it could not be seen.
    pub(crate) recent: Option<Growth>,
    /// The whole segment.
    pub(crate) whole: Option<Box<Window>>,
}

/// What there is to say of the later half where no window grows.
enum Later {
    Unseen,
    /// What it shows.
    Found(Growth),
    /// What it is, while nobody needs to know what it shows.
    Window(Box<Window>),
}

impl Judge {
    pub(crate) fn search<'a>(&'a self, known: &'a Known) -> Search<'a> {
        let shown = known.profile.map_or(0.0, |profile| profile.swing);
        Search {
            history: &self.history,
            pasts: &known.pasts,
            hold: known.hold(),
            chapter: self.before.is_some(),
            swing: self.before.map_or(shown, |before| shown.max(before.fallen)),
            least: known.least_growth,
            tuning: &known.tuning,
        }
    }
}

impl Search<'_> {
    /// The longest window that grows, and what the later half of the segment showed if none does.
    pub(crate) fn run(&self) -> Searched {
        let span = self.history.span();
        let Some(whole) = self.history.window(self.history.origin()) else {
            return Searched::default();
        };
        let whole = Box::new(whole);
        let fallen = largest_fall(&whole.low);
        let mut later = Later::Unseen;
        for share in SHARES {
            if span * share < self.hold {
                break;
            }
            let decides = share >= 0.5 || matches!(later, Later::Unseen);
            if roughly(&whole.level, share) < 0.5 * QUICK_SHARE * self.least {
                if decides {
                    later = Later::Found(Growth::none(self.least));
                }
                continue;
            }
            let from = self.history.end() - span * share;
            let window = if share < 1.0 {
                let Some(part) = self.history.window(from) else { continue };
                Box::new(part)
            } else {
                whole.clone()
            };
            let Some(mut growth) = grows(&window, self.tuning, self.least) else {
                if decides {
                    later = Later::Window(window);
                }
                continue;
            };
            growth.finding = self.outlasts(&growth, from, share, window.span, fallen);
            if growth.finding == Finding::Grows {
                let hit = Hit { from, share, season: None, lives: false };
                let found = Some(Found { hit, growth, window });
                return Searched { found, recent: Some(growth), whole: Some(whole) };
            }
            if decides {
                later = Later::Found(growth);
            }
        }
        let found = self.lives(&whole).or_else(|| self.cycles(&whole));
        let recent = match later {
            Later::Unseen => None,
            Later::Found(found) => Some(found),
            Later::Window(window) => Some(growth(&window, self.tuning, self.least)),
        };
        Searched { found, recent, whole: Some(whole) }
    }

    /// Growth of the window of the last `share`, from `from` on, must exceed what has fallen by `fallen` bytes, and not be
    /// dying down.
    fn outlasts(&self, found: &Growth, from: f64, share: f64, span: f64, fallen: f64) -> Finding {
        let fallen = self.fallen(fallen.max(self.swing), span);
        if !found.rising_floor && found.bytes < self.tuning.falls * fallen {
            Finding::Small
        } else if share <= SLOWS_UP_TO && self.slows(from, span, found.bytes) {
            Finding::Ending
        } else {
            Finding::Grows
        }
    }

    /// The growth over `span` seconds that the tests of size ask for, in bytes.
    pub(crate) fn needs(&self, found: &Growth, span: f64) -> f64 {
        let whole = self.history.window(self.history.origin());
        let fallen = whole.map_or(0.0, |whole| largest_fall(&whole.low));
        found.needed.max(self.tuning.falls * self.fallen(fallen.max(self.swing), span))
    }

    /// Growth from life to life.
    fn lives(&self, whole: &Window) -> Option<Found> {
        if self.chapter || self.pasts.len() < LIVES {
            return None;
        }
        let (from, end) = (self.history.origin(), self.history.end());
        let now = (from, self.history.floor_between(from, end)?);
        let floor = rising_floor(self.pasts, now, self.least)?;
        let season = Some((floor.period, floor.rate));
        let growth = Growth {
            finding: Finding::Grows,
            rate: floor.rate,
            bytes: floor.bytes,
            rising_floor: true,
            ..Growth::none(self.least)
        };
        let hit = Hit { from, share: 1.0, season, lives: true };
        Some(Found { hit, growth, window: Box::new(whole.clone()) })
    }

    /// Growth from cycle to cycle over the segment, which `whole` shows.
    pub(crate) fn cycles(&self, whole: &Window) -> Option<Found> {
        if self.history.span() < SEASON_FROM * self.hold {
            return None;
        }
        let (least, most) = whole
            .level
            .iter()
            .fold((f64::INFINITY, 0.0f64), |(least, most), v| (least.min(*v), most.max(*v)));
        if most - least < self.least {
            return None;
        }
        let found = season(self.history, self.least).filter(|season| season.grows)?;
        let season = Some((found.period, found.rate));
        let hit = Hit { from: self.history.origin(), share: 1.0, season, lives: false };
        let growth = Growth {
            finding: Finding::Grows,
            rate: found.rate,
            bytes: found.growth,
            noise: found.swing,
            ..Growth::none(self.least)
        };
        Some(Found { hit, growth, window: Box::new(whole.clone()) })
    }

    /// The largest fall that counts against growth over `span` seconds, in bytes; `within` is that of the present segment.
    fn fallen(&self, within: f64, span: f64) -> f64 {
        // Falls that nobody explains are swings once there are many.
        let often = self.pasts.len() >= LIVES;
        let swings =
            self.pasts.iter().filter(|past| (often || past.swing) && span <= OUTLASTS * past.stood);
        swings.map(|past| past.fell).fold(within, f64::max)
    }

    /// Whether the stretch of equal length before a window grew much more than the window did.
    fn slows(&self, from: f64, span: f64, bytes: f64) -> bool {
        let Some(before) = self.history.stretch(from - span, from) else { return false };
        [&before.low, &before.level].into_iter().all(|y| SLOWS * slope(y) > bytes)
    }
}

/// The largest fall among a window's points, in bytes.
pub(crate) fn largest_fall(low: &[f64; POINTS]) -> f64 {
    let (mut top, mut fall) = (low[0], 0.0f64);
    for level in low {
        top = top.max(*level);
        fall = fall.max(top - level);
    }
    fall
}

/// The growth over the last `share` of a segment, from what its whole shows: coarse, and a tenth of the cost of a window
/// of its own.
fn roughly(level: &[f64; POINTS], share: f64) -> f64 {
    let points = (POINTS as f64 * share) as usize;
    let part = &level[POINTS - points..];
    let third = points / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    1.5 * (mean(&part[points - third..]) - mean(&part[..third]))
}

/// Whether the newest part of a window of `span` seconds grew by at least `share` of what `rate` predicts.
pub(crate) fn grows_now(history: &History, rate: f64, span: f64, share: f64) -> bool {
    let now = history.end();
    let reach = NEWEST * span;
    let part = reach / 3.0;
    let newest = history.level_between(now - part, now);
    let before = history.level_between(now - reach - part, now - reach);
    match (newest, before) {
        (Some(newest), Some(before)) => newest - before >= share * rate * reach,
        _ => true,
    }
}
