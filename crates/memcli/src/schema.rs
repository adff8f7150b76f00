//! JSON Schemas of the documents, made from the types that write them. Compiled for tests alone: what is shipped are the files in
//! `docs/reference/schemas`, which `UPDATE=1 cargo test -p memcli --lib schema` writes.
//!
//! The types of the layers stand here as what their JSON is: a layer does not know of schemas.

#![expect(dead_code, reason = "of the types that stand for others only their schemas are used")]

use std::collections::BTreeMap;
use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::trace::fields::{FIELDS, SHARES};
use crate::trace::rows::{EndRow, EventRow, Header};
use crate::{alert, commands, comparison, doctor, output, report, series, summary, trace};

/// [`mempressure::Level`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
pub(crate) enum Level {
    Unknown,
    Normal,
    Warning,
    Critical,
    Emergency,
}

/// [`memleak::Severity`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
pub(crate) enum Severity {
    Info,
    Warning,
    Critical,
}

/// [`memleak::Shape`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
pub(crate) enum Shape {
    Linear,
    Accelerating,
    Decelerating,
    Stepwise,
}

/// [`mempressure::Signal`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
pub(crate) enum Signal {
    System,
    Cgroup,
    Budget,
    Psi,
    Forecast,
}

/// [`mempressure::Measure`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
pub(crate) enum Measure {
    Ratio,
    Stalled,
    SecondsLeft,
    Refusals,
}

/// [`crate::gate::Quantity`]: bytes, bytes per second or seconds, or a word.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
pub(crate) enum Quantity {
    Number(f64),
    Word(String),
}

/// What a verdict rests on. Sizes are in bytes, times in seconds.
#[derive(JsonSchema)]
pub(crate) struct Evidence {
    /// Samples seen.
    samples: u64,
    /// Seconds from the first sample to the last.
    watched: f64,
    /// Times the level fell as a restart does.
    restarts: u32,
    /// The slope now.
    trend: Option<Trend>,
    /// Median level at the start, in bytes.
    baseline: Option<u64>,
    /// Standard deviation around the trend of the points that are compared, each of which stands for many samples, in bytes.
    noise: Option<u64>,
    /// The slowest growth that would have been told from the noise, in bytes per second.
    floor: Option<f64>,
    /// Mann-Kendall score, in standard deviations.
    score: Option<f64>,
    /// Seconds of a cycle that was found.
    season: Option<f64>,
    /// How the levels are spread, in bytes.
    spread: Option<Levels>,
    /// Growth of kinds of memory that the series leaves out; missing when there is none.
    #[schemars(skip_serializing_if = "Vec::is_empty")]
    outside: Vec<Outside>,
}

/// Growth of `file` or `shmem` over the recent window, which the verdict leaves out.
#[derive(JsonSchema)]
struct Outside {
    kind: &'static str,
    bytes: u64,
    /// In how many seconds.
    over: f64,
}

/// A slope with its 95 % interval, in bytes per second.
#[derive(JsonSchema)]
struct Trend {
    bytes_per_second: f64,
    low: f64,
    high: f64,
}

/// How levels are spread, in bytes.
#[derive(JsonSchema)]
struct Levels {
    min: u64,
    p10: u64,
    p50: u64,
    p90: u64,
    max: u64,
}

/// One row of `watch --json` and `replay --json`; what it is about stands under the word of `kind`.
#[derive(JsonSchema)]
struct Event {
    schema: &'static str,
    /// Rises by one with each event, from 1.
    seq: u64,
    /// Since the watch began.
    at_seconds: f64,
    /// The wall clock, RFC 3339.
    time: String,
    /// Which of the keys below is there.
    kind: Kind,
    #[schemars(skip_serializing_if = "Option::is_none")]
    sample: Option<SampleEvent>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    level: Option<LevelEvent>,
    /// The verdict before and after, with their evidence.
    #[schemars(skip_serializing_if = "Option::is_none")]
    verdict: Option<BTreeMap<String, Value>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    alert: Option<trace::rows::AlertRow>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    hook: Option<HookEvent>,
    /// The reload: `outcome`, `generation`, `changes` or `diagnostics`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    config: Option<BTreeMap<String, Value>>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    failed: Option<FailedEvent>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    lost: Option<LostEvent>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    ended: Option<BTreeMap<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
enum Kind {
    Sample,
    Level,
    Verdict,
    Alert,
    Hook,
    Config,
    Failed,
    Lost,
    Ended,
}

#[derive(JsonSchema)]
struct SampleEvent {
    /// The time before it was not watched.
    gap: bool,
    /// Sizes in bytes, and counts, by name; what could not be read is `null`.
    readings: BTreeMap<String, Option<u64>>,
    /// How long ago the PSS was measured; above 0 it is an estimate.
    pss_age_seconds: Option<f64>,
    /// Why a reading is `null`, by its name.
    absent: BTreeMap<String, String>,
}

#[derive(JsonSchema)]
struct LevelEvent {
    from: Level,
    to: Level,
    at_seconds: f64,
    /// The signal that decided.
    signal: Option<Signal>,
    measure: Measure,
    value: Option<f64>,
    threshold: Option<f64>,
    /// The generation of the configuration that decided.
    generation: u64,
}

#[derive(JsonSchema)]
struct HookEvent {
    /// What went wrong with the command of `alerts.exec`.
    problem: String,
}

#[derive(JsonSchema)]
struct FailedEvent {
    reason: String,
}

#[derive(JsonSchema)]
struct LostEvent {
    samples: u64,
}

#[derive(JsonSchema)]
struct Doctor {
    schema: &'static str,
    rows: Vec<doctor::Row>,
}

#[derive(JsonSchema)]
struct ConfigCheck {
    schema: &'static str,
    valid: bool,
    /// Each problem: `code`, `severity`, `message`, `key`, `labels`, `help`.
    diagnostics: Vec<BTreeMap<String, Value>>,
}

#[derive(JsonSchema)]
struct ConfigDiff {
    schema: &'static str,
    /// Each changed key: `key`, `old`, `new`, `origin`, `direction`, `effect`.
    changes: Vec<BTreeMap<String, Value>>,
}

#[derive(JsonSchema)]
struct ConfigPlan {
    schema: &'static str,
    /// As in `memcli.config-diff/1`.
    changes: Vec<BTreeMap<String, Value>>,
    effects: Vec<commands::config::plan::Effect>,
}

#[derive(JsonSchema)]
struct ConfigExplain {
    schema: &'static str,
    /// `key`, `effective` with its origin, `shadowed`, and what the key takes.
    explanation: BTreeMap<String, Value>,
}

/// The schema of `T` under the name that it gives itself.
fn of<T: JsonSchema>(name: &str) -> (String, Value) {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema: Value = settings.into_generator().into_root_schema_for::<T>().into();
    schema["title"] = json!(name);
    schema["properties"]["schema"] = json!({ "const": name });
    (name.to_owned(), schema)
}

fn part<T: JsonSchema>(definitions: &mut serde_json::Map<String, Value>) -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let mut generator = settings.into_generator();
    let schema: Schema = generator.subschema_for::<T>();
    definitions.extend(generator.take_definitions(true));
    schema.into()
}

/// A trace is not one document: this is the schema of each of its rows.
fn trace_row() -> (String, Value) {
    let mut definitions = serde_json::Map::new();
    let (header, event) = (part::<Header>(&mut definitions), part::<EventRow>(&mut definitions));
    let end = part::<EndRow>(&mut definitions);
    let processes = part::<trace::tree::ProcessesRow>(&mut definitions);
    let keys = FIELDS.iter().map(|field| {
        let about = json!({ "type": ["integer", "null"], "minimum": 0, "description": field.name });
        (field.key.to_owned(), about)
    });
    let shares = SHARES
        .iter()
        .map(|share| (share.key.to_owned(), json!({ "type": ["number", "null"], "minimum": 0 })));
    let mut properties: serde_json::Map<String, Value> = keys.chain(shares).collect();
    properties.insert(
        "t".into(),
        json!({ "type": "number", "minimum": 0, "description": "seconds since the watch began" }),
    );
    properties.insert("wall".into(), json!({ "type": "number", "description": "seconds by which the wall clock is ahead of `started` + `t`" }));
    properties.insert("gap".into(), json!({ "type": "boolean" }));
    properties.insert(
        "pss_at".into(),
        json!({ "type": ["number", "null"], "description": "`t` of the last measured PSS" }),
    );
    properties.insert(
        "absent".into(),
        json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    );
    let sample = json!({ "type": "object", "required": ["t"], "properties": properties });
    let tagged = |key: &str, body: &Value| json!({ "type": "object", "required": [key], "properties": { key: body } });
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": trace::SCHEMA,
        "description": "One row of a trace. A key of a sample that is left out is as it was in the row before.",
        "anyOf": [
            header,
            tagged("sample", &sample),
            tagged("event", &event),
            tagged("processes", &processes),
            tagged("end", &end),
        ],
        "$defs": definitions,
    });
    (trace::SCHEMA.to_owned(), schema)
}

fn documents() -> Vec<(String, Value)> {
    vec![
        of::<alert::Document>(alert::SCHEMA),
        of::<commands::budget::Document>(commands::budget::SCHEMA),
        of::<ConfigCheck>("memcli.config-check/1"),
        of::<ConfigDiff>("memcli.config-diff/1"),
        of::<ConfigExplain>("memcli.config-explain/1"),
        of::<ConfigPlan>("memcli.config-plan/1"),
        of::<comparison::Comparison>(comparison::SCHEMA),
        of::<Doctor>(commands::doctor::SCHEMA),
        of::<Event>(output::json::EVENT_SCHEMA),
        of::<output::verdict::Document<'static>>(output::verdict::SCHEMA),
        of::<commands::replay::Outcome>(commands::replay::SCHEMA),
        of::<report::Report>(report::SCHEMA),
        of::<series::Series>(series::SCHEMA),
        of::<output::status::Document>(output::status::SCHEMA),
        of::<summary::Summary>(summary::SCHEMA),
        trace_row(),
    ]
}

#[test]
fn the_schemas_are_what_the_documents_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/schemas");
    for (name, schema) in documents() {
        // `memcli.status/1` is kept in `status-1.json`.
        let file = name.trim_start_matches("memcli.").replace('/', "-");
        let path = folder.join(format!("{file}.json"));
        let text = format!("{schema:#}\n");
        if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{} is stale: UPDATE=1 cargo test -p memcli --lib schema writes it",
            path.display()
        );
    }
}
