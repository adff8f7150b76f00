//! What the view of `top` shows of samples that come, and what keys make of it.

use super::*;
use crate::limit::Owner;
use crate::top::history::{POINTS, SPANS};
use mempressure::Level;
use memtrack::Stamp;

/// A state that was fed `seconds` samples, one a second, of `bytes(second)`.
pub(crate) fn fed(seconds: u64, bytes: impl Fn(u64) -> u64) -> State {
    let label = "worker(4321)+7".to_owned();
    let mut state = State::new(label, Watched::Own, Duration::from_secs(1), false);
    feed(&mut state, 0..seconds, bytes);
    state
}

pub(crate) fn feed(state: &mut State, seconds: std::ops::Range<u64>, bytes: impl Fn(u64) -> u64) {
    for second in seconds {
        let mut sample = Sample::empty(Stamp::synthetic(Duration::from_secs(second)));
        // A day on which there was a wall clock.
        sample.at.wall += Duration::from_secs(20_000 * 86_400);
        sample.process.rss = Ok(bytes(second) + (3 << 20));
        (sample.process.anon, sample.process.swap) = (Ok(bytes(second)), Ok(0));
        let mut judged = state.judged.clone();
        let owner = Owner::Cgroup(Some("/app".into()));
        judged.limit = Ok(Limit { owner, used: bytes(second) + (1 << 30), bytes: 4 << 30 });
        judged.status.level = Level::Normal;
        judged.status.at = sample.at.monotonic;
        state.observe(&sample, judged, &[]);
    }
}

#[test]
fn the_chart_grows_with_history_up_to_five_minutes() {
    assert_eq!(fed(30, |_| 1).history.span(), SPANS[0]);
    assert_eq!(fed(100, |_| 1).history.span(), SPANS[1]);
    let mut state = fed(2000, |_| 1);
    assert_eq!(state.history.span(), SPANS[1]);
    state.act(Action::Span(1), 80);
    assert_eq!(state.history.span(), SPANS[2]);
    for _ in 0..9 {
        state.act(Action::Span(-1), 80);
    }
    assert_eq!(state.history.span(), SPANS[0]);
    assert_eq!(state.history.shown().count(), 61);
}

#[test]
fn history_is_bounded() {
    let state = fed(POINTS as u64 + 100, |_| 1);
    assert_eq!(state.history.points.len(), POINTS);
}

#[test]
fn a_recording_is_kept_whole_with_its_peaks() {
    let mut state = fed(0, |_| 0);
    (state.recorded, state.history) = (true, History::new(true));
    let hours = 8 * 3600;
    feed(&mut state, 0..hours, |second| if second == 4321 { 1 << 30 } else { 1 << 20 });
    assert!(state.history.points.len() <= POINTS && state.history.points.len() > POINTS / 2);
    assert_eq!(state.history.points[0].at, Duration::ZERO);
    let last = state.history.points[state.history.points.len() - 1].at;
    assert_eq!((state.history.span(), state.history.shows_all()), (last, true));
    state.act(Action::Span(-1), 80);
    assert_eq!((state.history.span(), state.history.shows_all()), (SPANS[5], false));
    state.act(Action::Span(1), 80);
    assert_eq!(state.history.span(), SPANS[6]);
    let highest = state.history.shown().filter_map(|point| point.value(Metric::Private)).max();
    assert_eq!(highest, Some(1 << 30));
    assert!(state.step() >= Duration::from_secs(hours / POINTS as u64));
}

#[test]
fn pausing_stops_the_chart_and_not_the_samples() {
    let mut state = fed(30, |second| second);
    state.act(Action::Pause, 80);
    feed(&mut state, 30..40, |second| second);
    assert_eq!(state.history.end(), Duration::from_secs(29));
    assert_eq!(state.value(), Some(39));
    state.act(Action::Pause, 80);
    assert_eq!(state.history.end(), Duration::from_secs(39));
}

#[test]
fn the_cursor_moves_within_history_and_takes_the_chart_along() {
    let mut state = fed(600, |second| second);
    state.act(Action::Span(-1), 60);
    state.act(Action::Scrub(-10), 60);
    assert_eq!(state.history.under_cursor().unwrap().value(Metric::Private), Some(589));
    assert_eq!(state.history.end(), Duration::from_secs(599));
    state.act(Action::Scrub(-100), 60);
    assert_eq!(state.history.under_cursor().unwrap().at, Duration::from_secs(489));
    assert!(state.history.shown().any(|point| point.at == Duration::from_secs(489)));
    state.act(Action::Oldest, 60);
    assert_eq!(state.history.under_cursor().unwrap().at, Duration::ZERO);
    assert!(state.history.shown().next().is_some_and(|point| point.at == Duration::ZERO));
    state.act(Action::Scrub(-1), 60);
    assert_eq!(state.history.under_cursor().unwrap().at, Duration::ZERO);
    state.act(Action::Scrub(10_000), 60);
    assert_eq!(state.history.under_cursor().unwrap().at, Duration::from_secs(599));
    state.act(Action::Live, 60);
    assert!(state.history.under_cursor().is_none() && !state.history.is_stopped());
}

#[test]
fn only_numbers_that_were_read_can_be_plotted() {
    let mut state = fed(3, |_| 5);
    assert_eq!(state.metric, Metric::Private);
    state.act(Action::NextMetric, 80);
    assert_eq!(state.metric, Metric::Rss);
    state.act(Action::NextMetric, 80);
    assert_eq!(state.metric, Metric::Private, "no PSS, no cgroup, no machine");
}

#[test]
fn a_limit_lies_where_the_number_would_be_if_all_else_stayed() {
    let state = fed(3, |_| 1 << 30);
    // 2 of 4 GiB used, one of them by the target: at the limit it would have 3.
    assert_eq!(state.at_share(1.0), Some(3.0 * (1u64 << 30) as f64));
    assert_eq!(state.at_share(0.25), None, "the others alone use more");
}

#[test]
fn processes_that_come_and_go_take_one_line() {
    let mut state = fed(1, |_| 1);
    let name = |name: &str| vec![name.to_owned()];
    let started = |who| Turnover { started: name(who), ended: Vec::new() };
    state.note_turnover("t1", started("a(1)"));
    assert_eq!(state.events, ["t1 process  a(1) started"]);
    state.note_turnover("t2", Turnover { started: name("b(2)"), ended: name("a(1)") });
    state.note_turnover("t3", Turnover::default());
    assert_eq!(state.events, ["t2 process  2 started, 1 ended since t1"]);
    state.note("t4 level".into());
    state.note_turnover("t5", started("c(3)"));
    assert_eq!(state.events.len(), 3);
    assert_eq!(state.events[2], "t5 process  c(3) started");
    for number in 0..1000 {
        state.note(format!("{number}"));
        state.note_turnover("t", started("d(4)"));
    }
    assert_eq!(state.events.len(), EVENTS);
    assert_eq!(state.events[EVENTS - 2], "999", "nothing else was taken away");
}

#[test]
fn the_processes_of_a_recording_are_those_under_the_cursor() {
    let mut state = fed(0, |_| 0);
    (state.recorded, state.history) = (true, History::new(true));
    feed(&mut state, 0..60, |_| 1);
    let process = |pid, command: Option<&str>| ProcessRow {
        pid,
        start: 1,
        parent: (pid > 1).then_some(1),
        command: command.map(Into::into),
        rss: Some(1 << 20),
        ..ProcessRow::default()
    };
    let tree = |t, rows| ProcessesRow { t, rows, more: 0 };
    state.tree(&tree(0.0, vec![process(1, Some("sh -c x"))]));
    state.tree(&tree(30.0, vec![process(1, None), process(2, Some("worker"))]));
    let shown = |state: &State| -> Vec<(String, usize)> {
        state.process_rows().map(|row| (row.command.clone(), row.depth)).collect()
    };
    let both = [("sh -c x".to_owned(), 0), ("worker".to_owned(), 1)];
    assert_eq!(shown(&state), both);
    state.act(Action::Oldest, 60);
    assert_eq!(shown(&state), both[..1]);
    state.act(Action::Live, 60);
    for action in [Action::Filter, Action::Type('W'), Action::Type('o')] {
        state.act(action, 60);
    }
    assert_eq!(shown(&state), both[1..], "the filter knows no case");
    state.act(Action::Erase, 60);
    state.act(Action::Typed, 60);
    assert_eq!((state.filter.as_str(), state.typing), ("W", false));
    state.act(Action::Live, 60);
    assert_eq!(shown(&state).len(), 2);
}

#[test]
fn a_process_alone_in_a_recording_is_as_large_as_the_sample_under_the_cursor() {
    let mut state = fed(0, |_| 0);
    (state.recorded, state.history) = (true, History::new(true));
    let alone = ProcessRow { pid: 1, start: 1, rss: Some(1), ..ProcessRow::default() };
    state.tree(&ProcessesRow { t: 0.0, rows: vec![alone], more: 0 });
    let judged = state.judged.clone();
    for second in 0..60u64 {
        let stamp = Stamp::synthetic(Duration::from_secs(second));
        let mut sample = Sample::empty(stamp);
        (sample.process.rss, sample.process.processes) = (Ok(second << 20), Ok(1));
        state.observe(&sample, judged.clone(), &[]);
    }
    let shown = |state: &State| state.process_rows().map(|row| row.memory.rss).collect::<Vec<_>>();
    assert_eq!(shown(&state), [Ok(59 << 20)]);
    state.act(Action::Scrub(-9), 60);
    assert_eq!(shown(&state), [Ok(50 << 20)]);
}

#[test]
fn nothing_panics_before_the_first_sample() {
    let mut state = State::new("x".into(), Watched::System, Duration::from_secs(1), false);
    for action in [
        Action::Pause,
        Action::Scrub(-3),
        Action::Oldest,
        Action::NextMetric,
        Action::Scroll(5),
        Action::Span(1),
        Action::Live,
    ] {
        state.act(action, 0);
    }
    assert_eq!(state.history.shown().count(), 0);
    assert_eq!(state.at_share(1.0), None);
}
