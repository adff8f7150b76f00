//! Gates: conditions a run must meet, judged on intervals and never on a point inside the noise.

use std::fmt;

use memleak::Verdict;
use memtrack::Size;
use serde::Serialize;

/// What `--fail-on` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FailOn {
    /// The verdict at the end is `leak`.
    Leak,
}

/// The gates of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gates {
    /// Highest peak RSS that passes.
    pub max_rss: Option<Size>,
    /// Verdicts that fail.
    pub fail_on: Vec<FailOn>,
}

/// What the gates are judged on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Peak RSS in bytes, as far as it is known.
    pub peak_rss: Option<u64>,
    /// The verdict at the end.
    pub verdict: &'a Verdict,
}

/// How one gate was judged. Serialises into `gates[]` of the summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// The gate: `max_rss`, `leak`.
    pub name: &'static str,
    /// What must not be passed.
    pub limit: Quantity,
    /// What was seen; `null` when it could not be had.
    pub value: Option<Quantity>,
    /// Whether it passed. What could not be seen does not pass: a gate that cannot judge must not say yes.
    pub pass: bool,
}

/// A number with its unit in the text form, bare in JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// Bytes.
    Bytes(u64),
    /// A word, such as a verdict.
    Word(&'static str),
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quantity::Bytes(bytes) => Size(*bytes).fmt(f),
            Quantity::Word(word) => f.pad(word),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Quantity::Bytes(bytes) => serializer.serialize_u64(*bytes),
            Quantity::Word(word) => serializer.serialize_str(word),
        }
    }
}

impl Gates {
    /// Judges every gate.
    #[must_use]
    pub fn judge(&self, facts: Facts<'_>) -> Vec<Judged> {
        let max_rss = self.max_rss.map(|limit| Judged {
            name: "max_rss",
            limit: Quantity::Bytes(limit.bytes()),
            value: facts.peak_rss.map(Quantity::Bytes),
            pass: facts.peak_rss.is_some_and(|peak| peak <= limit.bytes()),
        });
        let verdicts = self.fail_on.iter().map(|fail_on| match fail_on {
            FailOn::Leak => Judged {
                name: "leak",
                limit: Quantity::Word("leak"),
                value: Some(Quantity::Word(facts.verdict.kind())),
                pass: !facts.verdict.is_leak(),
            },
        });
        max_rss.into_iter().chain(verdicts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memleak::{Detector, LeakConfig};

    #[test]
    fn a_peak_at_the_limit_passes_and_one_byte_more_does_not() {
        let detector = Detector::new(&LeakConfig::default());
        let gates = Gates { max_rss: Some(Size::mib(64)), fail_on: vec![FailOn::Leak] };
        let verdict = detector.verdict();
        let judge = |peak_rss| gates.judge(Facts { peak_rss, verdict: &verdict });
        assert!(judge(Some(64 << 20)).iter().all(|gate| gate.pass));
        let failed = judge(Some((64 << 20) + 1));
        assert!(!failed[0].pass && failed[1].pass);
        assert!(!judge(None)[0].pass, "an unknown peak is no pass");
        assert_eq!(
            serde_json::to_string(&failed[0]).unwrap(),
            r#"{"name":"max_rss","limit":67108864,"value":67108865,"pass":false}"#
        );
    }
}
