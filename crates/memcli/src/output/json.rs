//! What programs read: one JSON document a line.

use std::collections::BTreeMap;

use memtrack::{Absent, Reading, Sample};
use serde::Serialize;
use serde_json::{Value, json};

use crate::pipeline::{Event, Numbered};
use crate::summary::Summary;
use crate::trace::rows::AlertRow;

/// The name and version of an event row.
pub const EVENT_SCHEMA: &str = "memcli.event/1";

/// One event as a row of JSON Lines.
#[must_use]
pub fn event(numbered: &Numbered) -> String {
    let (kind, body) = match &numbered.event {
        Event::Sample(sample) => ("sample", sample_body(sample)),
        Event::Level(transition) => ("level", to_value(transition)),
        Event::Verdict(change) => ("verdict", to_value(change)),
        Event::Alert(alert) => ("alert", to_value(&AlertRow::new(numbered, alert))),
        Event::Hook(problem) => ("hook", json!({ "problem": problem })),
        Event::Config(reload) => ("config", crate::output::reload::body(reload)),
        Event::Failed(failure) => ("failed", json!({ "reason": failure.to_string() })),
        Event::Lost(count) => ("lost", json!({ "samples": count })),
        Event::Ended => ("ended", json!({})),
    };
    let row = json!({
        "schema": EVENT_SCHEMA,
        "seq": numbered.seq,
        "at_seconds": numbered.at.monotonic.as_secs_f64(),
        "time": humantime::format_rfc3339_millis(numbered.at.wall).to_string(),
        "kind": kind,
        kind: body,
    });
    row.to_string()
}

/// The summary as one line.
#[must_use]
pub fn summary(summary: &Summary) -> String {
    to_value(summary).to_string()
}

/// A document for programs and for people who read JSON: indented.
#[must_use]
pub fn document(document: &impl Serialize) -> String {
    serde_json::to_string_pretty(document)
        .unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string())
}

/// A document on one line.
#[must_use]
pub fn line(document: &impl Serialize) -> String {
    to_value(document).to_string()
}

/// Any serialisable state; what cannot be written says so rather than vanish.
fn to_value(state: &impl Serialize) -> Value {
    serde_json::to_value(state).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

/// The readings of a sample: bytes, and for each `null` its reason under `absent`.
fn sample_body(sample: &Sample) -> Value {
    let row = Readings::of(sample);
    let pss_age = sample.process.pss_age.ok().map(|age| age.as_secs_f64());
    json!({
        "gap": sample.at.gap,
        "readings": row.values,
        "pss_age_seconds": pss_age,
        "absent": row.absent,
    })
}

/// The readings of a sample by name, and why those that are missing are.
#[derive(Default)]
pub(crate) struct Readings {
    pub(crate) values: BTreeMap<&'static str, Option<u64>>,
    pub(crate) absent: BTreeMap<&'static str, String>,
}

impl Readings {
    pub(crate) fn of(sample: &Sample) -> Self {
        let mut row = Self::default();
        let process = &sample.process;
        row.put("rss_bytes", process.rss);
        row.put("anon_bytes", process.anon);
        row.put("file_bytes", process.file);
        row.put("shmem_bytes", process.shmem);
        row.put("swap_bytes", process.swap);
        row.put("peak_bytes", process.peak);
        row.put("pss_bytes", process.pss);
        row.put("processes", process.processes);
        row.put("threads", process.threads);
        row.put("system_total_bytes", sample.system.total);
        row.put("system_available_bytes", sample.system.available);
        row.put("cgroup_working_set_bytes", sample.cgroup.working_set());
        row.put("cgroup_limit_bytes", sample.cgroup.limit);
        row.put("cgroup_headroom_bytes", sample.cgroup.headroom);
        row
    }

    fn put(&mut self, name: &'static str, reading: Reading<u64>) {
        self.values.insert(name, reading.ok());
        if let Err(why) = reading
            && why != Absent::NotRead
        {
            self.absent.insert(name, why.to_string());
        }
    }
}
