//! A verdict with its evidence: what `leak` shows, live and over a recording.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use memleak::{Evidence, RuleReport, Verdict};
use memtrack::{Rate, Reading, Size, Span};
use serde::Serialize;

use crate::limit::Limit;
use crate::output::badge::Marks;
use crate::output::growth::growth_beside;
use crate::output::human;
use crate::output::human::reason;
use crate::output::status::of;
use crate::places::Places;
use crate::rules::{self, RulesRow};
use crate::summary::{Growth, Judgement};

/// The name and version of the document.
pub const SCHEMA: &str = "memcli.leak/1";

/// A verdict and what it is of.
#[derive(Debug)]
pub struct Finding {
    /// `worker(4321)+7`, or the name of a recording.
    pub label: String,
    /// Which number was watched: `anon + swap`.
    pub series: &'static str,
    /// How much of the time was left out at the start.
    pub skipped: Duration,
    /// The verdict.
    pub verdict: Verdict,
    /// What the plain rules say beside it.
    pub rules: RuleReport,
    /// The nearest limit at the end, where it is known.
    pub limit: Option<Reading<Limit>>,
    /// Where it grows, when it does.
    pub places: Option<Places>,
    /// After how long the target ended, when it did before the time was up.
    pub ended: Option<Duration>,
    /// A command that would tell more, when there is one.
    pub next: Option<String>,
}

/// The verdict in a few lines: the word, the rate, the reason, the evidence, and what to do next.
#[must_use]
pub fn lines(finding: &Finding, marks: Marks, columns: usize) -> String {
    let Finding { label, series, verdict, .. } = finding;
    let evidence = verdict.evidence();
    let mut text = String::new();
    let rate = verdict.trend();
    let rate = rate.map_or("growth unknown: too few samples".into(), |trend| {
        growth_beside(verdict.kind(), trend)
    });
    let _ = writeln!(text, "{} {label}  {rate}", marks.verdict(verdict.kind()));
    let mut line = |said: String| {
        let options = textwrap::Options::new(columns.min(100));
        let options = options.initial_indent("   ").subsequent_indent("     ");
        let _ = writeln!(text, "{}", textwrap::fill(&said, options));
    };
    line(reason(verdict, series));
    if let Some(after) = finding.ended {
        line(format!("it ended after {}; this is about the time before", Span(after)));
    }
    line(samples(finding, series, evidence));
    line(figures(evidence));
    if let Verdict::Leak { shape, confidence, .. } = verdict {
        let shape = format!("{shape:?}").to_lowercase();
        line(format!(
            "the growth is {shape}; confidence {:.0} %, by how far it stands above the noise and how long it has gone on",
            confidence * 100.0
        ));
    }
    if let Some(places) = &finding.places {
        line(format!("where: {}", human::places(places)));
    }
    if let Some(said) = rules::line(&finding.rules) {
        line(said);
    }
    match &finding.limit {
        Some(Ok(limit)) => line(format!(
            "nearest limit: {} of {}, {:.0} % used",
            of(limit.used, limit.bytes),
            limit.owner,
            limit.ratio() * 100.0
        )),
        Some(Err(why)) => line(format!("nearest limit unknown: {why}")),
        None => {}
    }
    if let Some(next) = &finding.next {
        line(format!("Next: {next}"));
    }
    text
}

fn samples(finding: &Finding, series: &str, evidence: &Evidence) -> String {
    let samples = human::counted(evidence.samples, "sample");
    let mut text = format!("{samples} of {series} over {}", Span(evidence.watched));
    if finding.skipped > Duration::ZERO {
        let _ = write!(text, ", the first {} left out", Span(finding.skipped));
    }
    if evidence.restarts > 0 {
        let _ = write!(text, "; it fell as a restart does {} times", evidence.restarts);
    }
    if let Some(season) = evidence.season {
        let _ = write!(text, "; a cycle of {} is accounted for", Span(season));
    }
    text
}

fn figures(evidence: &Evidence) -> String {
    let mut parts = Vec::new();
    if let Some(spread) = evidence.spread {
        parts.push(format!(
            "from {} to {}, half of the time below {}",
            Size(spread.min),
            Size(spread.max),
            Size(spread.p50)
        ));
    }
    if let Some(noise) = evidence.noise {
        parts.push(format!("noise {} around the trend", Size(noise)));
    }
    if let Some(floor) = evidence.floor {
        parts.push(format!(
            "the slowest growth that would have shown is {}",
            Rate::per_second(floor)
        ));
    }
    if parts.is_empty() { "too few samples for figures".into() } else { parts.join("; ") }
}

/// The document `memcli.leak/1`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document<'a> {
    schema: &'static str,
    target: &'a str,
    series: &'static str,
    skipped_seconds: f64,
    growth: Growth,
    verdict: Judgement,
    #[cfg_attr(test, schemars(with = "crate::schema::Evidence"))]
    evidence: &'a Evidence,
    /// The plain rules, reported apart from the verdict.
    rules: RulesRow,
    places: Option<&'a Places>,
    limit_bytes: Option<u64>,
    limit_used_bytes: Option<u64>,
    limit_of: Option<String>,
    /// After how long the target ended, when it did before the time was up.
    ended_seconds: Option<f64>,
    /// Why a value above is `null`, by its path.
    absent: BTreeMap<&'static str, String>,
}

impl<'a> Document<'a> {
    /// What `finding` says.
    #[must_use]
    pub fn new(finding: &'a Finding) -> Self {
        let limit = finding.limit.as_ref().and_then(|limit| limit.as_ref().ok());
        let mut document = Self {
            schema: SCHEMA,
            target: &finding.label,
            series: finding.series,
            skipped_seconds: finding.skipped.as_secs_f64(),
            growth: Growth::from(finding.verdict.trend()),
            verdict: Judgement::new(&finding.verdict, finding.series),
            evidence: finding.verdict.evidence(),
            places: finding.places.as_ref(),
            limit_bytes: limit.map(|limit| limit.bytes),
            limit_used_bytes: limit.map(|limit| limit.used),
            limit_of: limit.map(|limit| limit.owner.to_string()),
            rules: RulesRow::new(&finding.rules),
            ended_seconds: finding.ended.map(|after| after.as_secs_f64()),
            absent: BTreeMap::new(),
        };
        document.give_reasons(finding);
        document
    }

    fn give_reasons(&mut self, finding: &Finding) {
        let few = "too few samples";
        let limit = match &finding.limit {
            Some(Err(why)) => why.to_string(),
            _ => "no sample was taken".to_owned(),
        };
        let places = match finding.verdict {
            Verdict::Growing { .. } | Verdict::Leak { .. } => "no kind of memory was read",
            _ => "it does not grow",
        };
        let evidence = self.evidence;
        for (missing, path, why) in [
            (self.growth.bytes_per_second.is_none(), "growth", few),
            (self.verdict.floor_bytes_per_second.is_none(), "verdict.floor_bytes_per_second", few),
            (evidence.trend.is_none(), "evidence.trend", few),
            (evidence.baseline.is_none(), "evidence.baseline", few),
            (evidence.noise.is_none(), "evidence.noise", few),
            (evidence.floor.is_none(), "evidence.floor", few),
            (evidence.score.is_none(), "evidence.score", "no window was tested"),
            (evidence.season.is_none(), "evidence.season", "no cycle was found"),
            (evidence.spread.is_none(), "evidence.spread", few),
            (self.places.is_none(), "places", places),
            (self.limit_bytes.is_none(), "limit_bytes", &limit),
            (self.limit_used_bytes.is_none(), "limit_used_bytes", &limit),
            (self.limit_of.is_none(), "limit_of", &limit),
            (
                self.ended_seconds.is_none(),
                "ended_seconds",
                "the target did not end before the time was up",
            ),
        ] {
            if missing {
                self.absent.insert(path, why.to_owned());
            }
        }
        RulesRow::give_reasons(&finding.rules, &mut self.absent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Owner;
    use memleak::{Detector, LeakConfig};

    fn finding(bytes: impl Fn(u64) -> u64) -> Finding {
        let mut detector = Detector::new(&LeakConfig::default());
        detector.set_limit(Some(1 << 30));
        for tenth in 0..600 {
            detector.push(Duration::from_millis(100 * tenth), bytes(tenth));
        }
        detector.conclude();
        let limit =
            Limit { owner: Owner::Cgroup(Some("/app".into())), used: 500 << 20, bytes: 1 << 30 };
        Finding {
            label: "worker(4321)".into(),
            series: "anon + swap",
            skipped: Duration::from_secs(10),
            verdict: detector.verdict(),
            rules: RuleReport::default(),
            limit: Some(Ok(limit)),
            places: None,
            ended: None,
            next: Some("memcli watch 4321 --for 1h".into()),
        }
    }

    fn plain(finding: &Finding) -> String {
        let text = anstream::adapter::strip_str(&lines(finding, Marks::Emoji, 100)).to_string();
        text.split_inclusive("\n     ").map(str::trim).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_leak_comes_with_rate_evidence_limit_and_doubt() {
        let text = plain(&finding(|tenth| (100 << 20) + tenth * (2 << 20) / 10));
        assert!(text.starts_with("🔴 leak       worker(4321)  +2.0 MiB/s (95 %:"), "{text}");
        for part in [
            "600 samples of anon + swap over 59.9 s, the first 10.0 s left out",
            "a cache without a limit",
            "the limit is reached in about",
            "the growth is linear",
            "cgroup /app, 49 % used",
            "Next: memcli watch",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn steady_says_what_would_have_shown() {
        let text = plain(&finding(|tenth| (100 << 20) + (tenth % 3) * 4096));
        assert!(text.starts_with("🟢 steady"), "{text}");
        assert!(text.contains("would have shown"), "{text}");
    }

    #[test]
    fn what_is_null_says_why() {
        let mut detector = Detector::new(&LeakConfig::default());
        detector.push(Duration::ZERO, 1 << 20);
        let unknown = Finding {
            verdict: detector.verdict(),
            limit: Some(Err(memtrack::Absent::Denied)),
            ..finding(|_| 100 << 20)
        };
        for finding in [unknown, finding(|tenth| (100 << 20) + tenth * (2 << 20) / 10)] {
            let document = serde_json::to_value(Document::new(&finding)).unwrap();
            let absent = document["absent"].as_object().unwrap();
            let mut nulls = Vec::new();
            for (name, value) in document.as_object().unwrap() {
                let inner = value.as_object().filter(|_| ["evidence", "rules"].contains(&&**name));
                let inner = inner.into_iter().flatten().filter(|(_, value)| value.is_null());
                nulls.extend(inner.map(|(inner, _)| format!("{name}.{inner}")));
                nulls.extend(value.is_null().then(|| name.clone()));
            }
            // A severity that was not earned is no value that is missing.
            nulls.retain(|path| !path.ends_with("_severity"));
            assert!(!nulls.is_empty());
            for path in nulls {
                assert!(absent.contains_key(&path), "{path} in {document:#}");
            }
            if document["limit_bytes"].is_null() {
                assert_eq!(absent["limit_bytes"], memtrack::Absent::Denied.to_string());
            }
        }
    }

    #[test]
    fn the_rules_are_told_beside_the_verdict() {
        let mut rules = memleak::Rules::new(&LeakConfig::default());
        for second in 0..600u64 {
            rules.push(Duration::from_secs(second), (240 << 20) + second * 40_000);
        }
        let found = Finding { rules: rules.report(), ..finding(|_| 100 << 20) };
        let text = plain(&found);
        assert!(
            text.contains(
                "by the plain rules: growth of RSS 2.3 MiB/min (critical); RSS 262.9 MiB (warning)"
            ),
            "{text}"
        );
        let document = serde_json::to_value(Document::new(&found)).unwrap();
        assert_eq!(document["rules"]["growth_severity"], "critical");
        assert_eq!(document["rules"]["rss_severity"], "warning");
        assert_eq!(document["rules"]["samples"], 600);
    }

    #[test]
    fn what_falls_is_not_said_to_stay() {
        let text = plain(&finding(|tenth| (500 << 20) - tenth * 400_000));
        assert!(text.starts_with("🟢 steady"), "{text}");
        assert!(text.contains("it falls, lately to about") && !text.contains("stays"), "{text}");
    }

    #[test]
    fn the_document_has_the_evidence() {
        let finding = finding(|tenth| (100 << 20) + tenth * (2 << 20) / 10);
        let document = serde_json::to_value(Document::new(&finding)).unwrap();
        assert_eq!(document["schema"], "memcli.leak/1");
        assert_eq!(document["verdict"]["kind"], "leak");
        assert_eq!(document["evidence"]["samples"], 600);
        assert_eq!(document["limit_of"], "cgroup /app");
    }
}
