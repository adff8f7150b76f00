//! What the charts of a report show: the size as it is told everywhere, and what the verdict rests on.

use std::time::Duration;

use crate::curve::Curve;
use crate::fit::Fit;
use crate::recording::Recording;
use crate::report::Run;
use crate::size::PSS;

/// One chart.
#[derive(Debug)]
pub struct Drawn<'a> {
    /// What the curve is of.
    pub name: &'static str,
    /// The curve.
    pub curve: &'a Curve,
    /// Another one that helps to read it, with its name.
    pub beside: Option<(&'static str, &'a Curve)>,
    /// The growth that was fitted to the curve.
    pub fit: Option<Fit>,
    /// The first and the last time of the axis, the same in every chart of a recording.
    pub times: (Duration, Duration),
}

/// The charts of a recording, the first one with its size.
///
/// One process is drawn by what is watched for growth, with its RSS beside it. Over several processes that sum counts what they share
/// once for each: their size is PSS, and the sum is drawn only as the evidence of a growth.
#[must_use]
pub fn charts<'a>(run: &Run, recording: &'a Recording) -> Vec<Drawn<'a>> {
    let watched = &recording.watched;
    let times = recording
        .pipeline
        .seen()
        .span
        .map_or_else(Default::default, |(first, last)| (first.monotonic, last.monotonic));
    let evidence = Drawn {
        name: recording.pipeline.series(),
        curve: watched,
        beside: None,
        fit: Fit::of(recording),
        times,
    };
    if run.peak.size_measure == Some(PSS) {
        let size = Drawn { name: PSS, curve: &recording.pss, beside: None, fit: None, times };
        let grows = matches!(run.verdict.kind, "growing" | "leak");
        return std::iter::once(size).chain(grows.then_some(evidence)).collect();
    }
    let rss = Some(&recording.rss).filter(|rss| rss.samples() > 0 && rss.high() != watched.high());
    vec![Drawn { beside: rss.map(|rss| ("RSS", rss)), ..evidence }]
}
