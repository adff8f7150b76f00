//! Who gives how much: a pure planner, and the pace at which plans may follow one another.

use std::cmp::Reverse;
use std::time::Duration;

use memtrack::{Reading, Sample, Stamp};

use crate::config::{Policy, PressureConfig, Priority, Thresholds};
use crate::level::{Level, Measure, Signal};
use crate::machine::{Rules, Status};
use crate::signal::{self, Usage};

/// How far below the release point a plan aims, as a share of the limit, so that it need not be repeated at
/// once. (kubelet calls it the minimum reclaim.)
pub const MARGIN: f64 = 0.02;

/// What the planner knows of one cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Its name, which decides last in the order.
    pub name: &'a str,
    /// How much it is worth keeping.
    pub priority: Priority,
    /// Bytes it holds.
    pub used: u64,
    /// Bytes it may hold at most, pressure or not.
    pub ceiling: Option<u64>,
    /// It must not be asked now: it hangs, or it claimed without freeing.
    pub barred: bool,
}

impl Offer<'_> {
    fn excess(&self) -> u64 {
        self.ceiling.map_or(0, |ceiling| self.used.saturating_sub(ceiling))
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The level to act at.
    pub level: Level,
    /// What the process costs, RSS + swap, in bytes; where unknown, the sum of the caches stands in for it.
    pub footprint: Reading<u64>,
    /// Bytes that bring the deciding signal below its release point; `None` where that is not a number of
    /// bytes. See [`need`].
    pub need: Option<u64>,
    /// Policy and targets.
    pub pressure: &'a PressureConfig,
}

/// One cache's turn in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place in the offers that the plan was made from.
    pub cache: usize,
    /// Bytes it holds.
    pub used: u64,
    /// Bytes it holds above its ceiling: asked for whatever the target.
    pub excess: u64,
    /// The level and policy permit to ask for more than the excess.
    pub permitted: bool,
}

/// Who is asked, in which order, for how much in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The level it acts at.
    pub level: Level,
    /// Bytes to free; what is above ceilings comes on top where it is more.
    pub target: u64,
    /// In the order of asking.
    pub turns: Vec<Turn>,
}

impl Plan {
    /// The bytes to ask `turn` for, when `claimed` have been given so far.
    #[must_use]
    pub fn ask(&self, turn: &Turn, claimed: u64) -> u64 {
        let share = if turn.permitted { self.target.saturating_sub(claimed) } else { 0 };
        share.min(turn.used).max(turn.excess)
    }

    /// What is asked of each cache (its place in the offers, and the bytes) when all give what they are asked for.
    pub fn asks(&self) -> impl Iterator<Item = (usize, u64)> {
        let mut claimed = 0_u64;
        self.turns.iter().filter_map(move |turn| {
            let bytes = self.ask(turn, claimed);
            claimed = claimed.saturating_add(bytes);
            (bytes > 0).then_some((turn.cache, bytes))
        })
    }

    /// The sum of [`Plan::asks`].
    #[must_use]
    pub fn total(&self) -> u64 {
        self.asks().fold(0, |sum, (_, bytes)| sum.saturating_add(bytes))
    }

    /// Whether it can make a difference worth making at once: a sixteenth of what is needed. When the caches
    /// are all but empty, asking them on every sample burns time and frees nothing.
    #[must_use]
    pub fn is_urgent(&self, need: Option<u64>) -> bool {
        let helps = |need: u64| need > 0 && self.total() >= need / 16;
        self.level == Level::Emergency && need.is_some_and(helps)
    }

    /// Whether nobody is asked for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}

/// Plans an eviction.
///
/// The target is the level's share of the footprint as a cap; the conservative policy takes only what is
/// needed, and half of the cap where the need is unknown. When the need is 0 the level merely waits to be
/// left, and nothing is taken. Low priority gives first, then normal, then high, which is touched only at
/// emergency (aggressive: from critical on); within a priority the largest first, then by name.
///
/// What is above a ceiling is asked for at every level, from every priority, before anything else.
#[must_use]
pub fn plan(request: &Request<'_>, offers: &[Offer<'_>]) -> Plan {
    let open = || offers.iter().enumerate().filter(|(_, offer)| !offer.barred && offer.used > 0);
    let target =
        target(request, || open().fold(0_u64, |sum, (_, offer)| sum.saturating_add(offer.used)));
    let aggressive = request.pressure.policy == Policy::Aggressive;
    let high_from = if aggressive { Level::Critical } else { Level::Emergency };
    let permitted = |offer: &Offer<'_>| {
        target > 0 && (offer.priority < Priority::High || request.level >= high_from)
    };
    let mut turns: Vec<_> = open()
        .filter(|(_, offer)| permitted(offer) || offer.excess() > 0)
        .map(|(cache, offer)| Turn {
            cache,
            used: offer.used,
            excess: offer.excess(),
            permitted: permitted(offer),
        })
        .collect();
    turns.sort_unstable_by(|a, b| {
        let key = |turn: &Turn| (turn.excess == 0, offers[turn.cache].priority, Reverse(turn.used));
        let name = |turn: &Turn| (offers[turn.cache].name, turn.cache);
        key(a).cmp(&key(b)).then_with(|| name(a).cmp(&name(b)))
    });
    Plan { level: request.level, target, turns }
}

fn target(request: &Request<'_>, held: impl Fn() -> u64) -> u64 {
    let share = request.pressure.targets.share(request.level);
    if share == 0.0 || request.need == Some(0) {
        return 0;
    }
    let footprint = request.footprint.unwrap_or_else(|_| held());
    // A product of finite numbers; `as` saturates.
    let cap = (footprint as f64 * share) as u64;
    match (request.pressure.policy, request.need) {
        (Policy::Aggressive, _) => cap,
        (Policy::Conservative, Some(need)) => need.min(cap),
        (Policy::Conservative, None) => cap / 2,
    }
}

/// Bytes that bring the signal that decides in `status` below the release point of the present level, and
/// [`MARGIN`] further.
///
/// The forecast lifts the level by one above the ratios, so its need is what brings them below the release point of the
/// level they vote for. Once it no longer votes, only ratios that have reached that level's threshold need anything: growth
/// that pauses for some samples must not leave a cache to fill up to the next threshold. `None` for what does not count
/// bytes: PSI, refusals of the kernel, and a forecast over ratios that are still normal.
#[must_use]
pub fn need(rules: &Rules<'_>, sample: &Sample, status: &Status) -> Option<u64> {
    let signal = status.signal?;
    match signal {
        _ if status.of(signal).measure == Measure::Refusals => None,
        Signal::Psi => None,
        Signal::Forecast => {
            let growing = status.of(signal).vote >= Some(status.level);
            let below = match status.level {
                Level::Emergency => Level::Critical,
                Level::Critical => Level::Warning,
                Level::Unknown | Level::Normal | Level::Warning if growing => return None,
                Level::Unknown | Level::Normal | Level::Warning => return Some(0),
            };
            let ratios = [Signal::System, Signal::Cgroup, Signal::Budget].into_iter();
            let heard = ratios.filter(|ratio| status.of(*ratio).vote.is_some());
            heard.filter_map(|ratio| excess(rules, sample, ratio, below, growing)).max()
        }
        Signal::System | Signal::Cgroup | Signal::Budget => {
            excess(rules, sample, signal, status.level, true)
        }
    }
}

/// Bytes of a ratio above the release point of `level`, less the margin; unless `in_band`, 0 below its threshold.
fn excess(
    rules: &Rules<'_>,
    sample: &Sample,
    ratio: Signal,
    level: Level,
    in_band: bool,
) -> Option<u64> {
    let over = |usage: Reading<Usage>, thresholds: &Thresholds| {
        let usage = usage.ok()?;
        let threshold = thresholds.of(level);
        if !in_band && usage.ratio() < threshold {
            return Some(0);
        }
        let goal = threshold - rules.pressure.band - MARGIN;
        Some(usage.used.saturating_sub((usage.limit as f64 * goal.max(0.0)) as u64))
    };
    let thresholds = &rules.pressure.thresholds;
    match ratio {
        Signal::System => over(signal::system(sample), thresholds),
        Signal::Cgroup => {
            let high = over(signal::cgroup_high(sample), thresholds);
            over(signal::cgroup(sample), thresholds).max(high)
        }
        Signal::Budget => over(rules.budget.usage(sample), &rules.budget.thresholds()),
        Signal::Psi | Signal::Forecast => None,
    }
}

/// Why a plan has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Wait {
    /// Another plan has not ended yet.
    #[error("another plan is being carried out")]
    InFlight,
    /// The sample was taken before the last plan ended and does not show what that freed.
    #[error("no sample yet since the last plan ended")]
    OldSample,
    /// The time before the sample was not watched: what it shows may be over.
    #[error("the first sample after a gap")]
    Gap,
    /// A plan at this level or above ended less than the cooldown ago.
    #[error("cooling down after the last plan")]
    Cooldown,
}

/// When a plan may follow another.
///
/// One at a time, and never on a sample older than the end of the last one. The cooldown holds back plans at
/// the level of the last one and below: an escalation always passes, also one to a level at which, or above which, a
/// plan was carried out before the level fell; and so does an urgent plan. Without that, what fills memory in less time
/// than the cooldown would win every time. What only keeps ceilings, below [`Level::Warning`], neither cools nor waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    in_flight: Option<Level>,
    /// The level has risen, to that of the plan in flight or below, since it began.
    overtaken: bool,
    ended: Option<Duration>,
    /// By level, when the last plan at it ended.
    cooling: [Option<Duration>; 3],
}

impl Pace {
    /// Whether a plan at `level` may begin on the sample of `stamp`; `urgent` as of [`Plan::is_urgent`].
    ///
    /// # Errors
    /// Why it has to wait.
    pub fn ask(
        &self,
        level: Level,
        urgent: bool,
        stamp: &Stamp,
        cooldown: Duration,
    ) -> Result<(), Wait> {
        if self.in_flight.is_some() {
            return Err(Wait::InFlight);
        }
        if self.ended.is_some_and(|ended| stamp.monotonic <= ended) {
            return Err(Wait::OldSample);
        }
        if urgent {
            return Ok(());
        }
        if stamp.gap {
            return Err(Wait::Gap);
        }
        if level < Level::Warning {
            return Ok(());
        }
        let cooling = self.cooling.iter().zip(Level::RAISED).any(|(ended, of)| {
            of >= level
                && ended.is_some_and(|ended| stamp.monotonic.saturating_sub(ended) < cooldown)
        });
        if cooling { Err(Wait::Cooldown) } else { Ok(()) }
    }

    /// The level rose to `level`: what was done before at it or above no longer holds plans back.
    pub fn escalate(&mut self, level: Level) {
        for (ended, of) in self.cooling.iter_mut().zip(Level::RAISED) {
            if of >= level {
                *ended = None;
            }
        }
        self.overtaken |= self.in_flight >= Some(level);
    }

    /// A plan at `level` begins.
    pub fn begin(&mut self, level: Level) {
        self.in_flight = Some(level);
        self.overtaken = false;
    }

    /// The plan found nothing to do: as if it had not been.
    pub fn cancel(&mut self) {
        self.in_flight = None;
    }

    /// The plan ended at `now`, a time on the samples' monotonic clock.
    pub fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        if let Some(level) = self.in_flight.take()
            && let Some(slot) = Level::RAISED.iter().position(|raised| *raised == level)
        {
            self.cooling[slot] = Some(now).filter(|_| !self.overtaken);
        }
    }

    /// When the last plan ended.
    #[must_use]
    pub fn ended(&self) -> Option<Duration> {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtrack::Absent;

    const MIB: u64 = 1 << 20;

    fn offer(name: &str, priority: Priority, used: u64) -> Offer<'_> {
        Offer { name, priority, used, ceiling: None, barred: false }
    }

    fn request(level: Level, need: Option<u64>, pressure: &PressureConfig) -> Request<'_> {
        Request { level, footprint: Ok(1000 * MIB), need, pressure }
    }

    fn names<'a>(plan: &Plan, offers: &[Offer<'a>]) -> Vec<(&'a str, u64)> {
        plan.asks().map(|(cache, bytes)| (offers[cache].name, bytes / MIB)).collect()
    }

    #[test]
    fn low_before_normal_and_larger_before_smaller() {
        let pressure = PressureConfig::default();
        let offers = [
            offer("index", Priority::High, 500 * MIB),
            offer("b", Priority::Normal, 100 * MIB),
            offer("a", Priority::Normal, 100 * MIB),
            offer("thumbnails", Priority::Low, 20 * MIB),
            offer("previews", Priority::Low, 30 * MIB),
        ];
        let plan = plan(&request(Level::Critical, Some(170 * MIB), &pressure), &offers);
        assert_eq!(
            names(&plan, &offers),
            [("previews", 30), ("thumbnails", 20), ("a", 100), ("b", 20)]
        );
    }

    #[test]
    fn high_gives_only_at_emergency_or_under_the_aggressive_policy_at_critical() {
        let mut pressure = PressureConfig::default();
        let offers = [offer("index", Priority::High, 900 * MIB)];
        let asked = |level, pressure: &PressureConfig| {
            !plan(&request(level, Some(MIB), pressure), &offers).is_empty()
        };
        assert!(!asked(Level::Critical, &pressure) && asked(Level::Emergency, &pressure));
        pressure.policy = Policy::Aggressive;
        assert!(!asked(Level::Warning, &pressure) && asked(Level::Critical, &pressure));
    }

    #[test]
    fn the_target_is_the_need_up_to_the_share_of_the_footprint() {
        let mut pressure = PressureConfig::default();
        let offers = [offer("a", Priority::Low, 900 * MIB)];
        let target = |level, need, pressure: &PressureConfig| {
            plan(&request(level, need, pressure), &offers).target / MIB
        };
        assert_eq!(target(Level::Warning, Some(10 * MIB), &pressure), 10);
        assert_eq!(target(Level::Warning, Some(900 * MIB), &pressure), 150);
        assert_eq!(target(Level::Critical, Some(900 * MIB), &pressure), 300);
        assert_eq!(target(Level::Emergency, Some(900 * MIB), &pressure), 500);
        assert_eq!(target(Level::Critical, None, &pressure), 150, "unknown need: half");
        assert_eq!(target(Level::Normal, None, &pressure), 0);
        pressure.policy = Policy::Aggressive;
        assert_eq!(target(Level::Critical, Some(10 * MIB), &pressure), 300);
        assert_eq!(
            target(Level::Critical, Some(0), &pressure),
            0,
            "the level only waits to be left"
        );
    }

    #[test]
    fn ceilings_hold_without_pressure_and_for_every_priority() {
        let pressure = PressureConfig::default();
        let capped =
            Offer { ceiling: Some(100 * MIB), ..offer("index", Priority::High, 130 * MIB) };
        let offers = [offer("a", Priority::Low, 50 * MIB), capped];
        let calm = plan(&request(Level::Normal, None, &pressure), &offers);
        assert_eq!(names(&calm, &offers), [("index", 30)]);
        let tight = plan(&request(Level::Warning, Some(40 * MIB), &pressure), &offers);
        assert_eq!(names(&tight, &offers), [("index", 30), ("a", 10)]);
    }

    #[test]
    fn barred_and_empty_caches_are_not_asked() {
        let pressure = PressureConfig::default();
        let offers = [
            Offer { barred: true, ..offer("liar", Priority::Low, 900 * MIB) },
            offer("empty", Priority::Low, 0),
        ];
        assert!(plan(&request(Level::Emergency, None, &pressure), &offers).is_empty());
    }

    #[test]
    fn an_unknown_footprint_is_that_of_the_caches() {
        let pressure = PressureConfig::default();
        let offers = [offer("a", Priority::Low, 100 * MIB)];
        let unknown = Request {
            footprint: Err(Absent::Denied),
            ..request(Level::Emergency, Some(MIB * 900), &pressure)
        };
        assert_eq!(plan(&unknown, &offers).target, 50 * MIB);
    }

    #[test]
    fn the_need_is_that_of_the_deciding_signal() {
        let (pressure, budget) = Default::default();
        let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
        let mut sample = Sample::empty(Stamp::synthetic(Duration::ZERO));
        sample.cgroup.limit = Ok(1000 * MIB);
        sample.cgroup.usage = Ok(960 * MIB);
        let mut machine = crate::Machine::new();
        machine.step(&rules, &sample);
        // Emergency is left below 0.95 - 0.05, and the plan aims 0.02 lower.
        let bytes = need(&rules, &sample, &machine.status()).unwrap();
        assert!(bytes.abs_diff(80 * MIB) <= 1, "{bytes}");
    }

    #[test]
    fn a_forecast_needs_what_lowers_the_ratio_under_it() {
        let (pressure, budget) = Default::default();
        let rules = Rules { pressure: &pressure, budget: &budget, generation: 0 };
        let mut machine = crate::Machine::new();
        let mut step = |tick: u64, used: u64| {
            let mut sample = Sample::empty(Stamp::synthetic(Duration::from_millis(5 * tick)));
            sample.cgroup.limit = Ok(1000 * MIB);
            sample.cgroup.usage = Ok(used * MIB);
            machine.step(&rules, &sample);
            let status = machine.status();
            (status.level, status.signal, need(&rules, &sample, &status))
        };
        for tick in 0..20 {
            step(tick, 700 + 5 * tick);
        }
        // 1 GiB/s at 80 %: a fifth of a second is left.
        let (level, signal, bytes) = step(20, 805);
        assert_eq!((level, signal), (Level::Emergency, Some(Signal::Forecast)));
        assert!(bytes.unwrap().abs_diff(75 * MIB) <= 1, "{bytes:?}");
        // It no longer grows: the level waits to be left, and nothing needs to go.
        let mut last = (level, signal, bytes);
        for tick in 21..40 {
            last = step(tick, 780);
        }
        assert_eq!(last, (Level::Emergency, Some(Signal::Forecast), Some(0)));
        // It fills up again by fits and starts, which is no trend; at the threshold of critical it is acted on all the same.
        for tick in 40..44 {
            last = step(tick, 799);
        }
        assert_eq!(last.2, Some(0));
        let (level, _, bytes) = step(44, 802);
        assert_eq!(level, Level::Emergency);
        assert!(bytes.unwrap().abs_diff(72 * MIB) <= 1, "{bytes:?}");
    }

    #[test]
    fn the_cooldown_never_blocks_an_escalation() {
        let cooldown = Duration::from_secs(30);
        let at = |seconds| Stamp::synthetic(Duration::from_secs(seconds));
        let mut pace = Pace::default();
        pace.begin(Level::Warning);
        assert_eq!(pace.ask(Level::Emergency, true, &at(1), cooldown), Err(Wait::InFlight));
        pace.end(Duration::from_secs(2));
        assert_eq!(pace.ask(Level::Emergency, true, &at(2), cooldown), Err(Wait::OldSample));
        assert_eq!(pace.ask(Level::Warning, false, &at(3), cooldown), Err(Wait::Cooldown));
        assert_eq!(pace.ask(Level::Critical, false, &at(3), cooldown), Ok(()));
        pace.begin(Level::Critical);
        pace.end(Duration::from_secs(4));
        assert_eq!(pace.ask(Level::Warning, false, &at(33), cooldown), Err(Wait::Cooldown));
        assert_eq!(pace.ask(Level::Critical, false, &at(34), cooldown), Ok(()));
        pace.begin(Level::Emergency);
        pace.end(Duration::from_secs(35));
        assert_eq!(pace.ask(Level::Emergency, false, &at(36), cooldown), Err(Wait::Cooldown));
        assert_eq!(pace.ask(Level::Emergency, true, &at(36), cooldown), Ok(()));
        // The level fell, and rises again within the cooldown: to a level below that of the last plan, and to its own.
        for level in [Level::Warning, Level::Critical, Level::Emergency] {
            let mut again = pace;
            assert_eq!(again.ask(level, false, &at(36), cooldown), Err(Wait::Cooldown));
            again.escalate(level);
            assert_eq!(again.ask(level, false, &at(36), cooldown), Ok(()), "{level}");
        }
        let after_gap = Stamp { gap: true, ..at(3600) };
        assert_eq!(pace.ask(Level::Critical, false, &after_gap, cooldown), Err(Wait::Gap));
        assert_eq!(pace.ask(Level::Emergency, true, &after_gap, cooldown), Ok(()));
    }
}

#[cfg(test)]
mod edge_tests;
