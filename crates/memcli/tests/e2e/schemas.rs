//! Every JSON document is what its schema in `docs/reference/schemas` says, and nothing more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{memcli, read_json, run};

fn schema_of(name: &str) -> Value {
    let file = name.trim_start_matches("memcli.").replace('/', "-");
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("../../docs/reference/schemas/{file}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// A reader is to pass over keys that it does not know, so the schemas allow them; here none may be left untold.
fn closed(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("additionalProperties".into(), json!(false));
            }
            map.values_mut().for_each(closed);
        }
        Value::Array(items) => items.iter_mut().for_each(closed),
        _ => {}
    }
}

/// Checks a document against the schema that it names.
pub(crate) fn check(document: &Value) {
    let name = document["schema"].as_str().unwrap_or_else(|| panic!("no schema: {document}"));
    check_as(name, document);
}

fn check_as(name: &str, document: &Value) {
    let mut schema = schema_of(name);
    closed(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{name}: {problems:#?}\nin {document:#}");
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_the_commands_print_is_what_the_schemas_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (trace, summary, told) = (at("t.jsonl.gz"), at("s.json"), at("told.json"));
    let config = at("c.toml");
    let text = format!(
        "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n[alerts]\nexec = [\"tee\", \"{told}\"]\n"
    );
    fs::write(&config, text).unwrap();
    let demo = ["demo", "tree", "--for", "4s", "-o", &trace, "--summary", &summary];
    let gates = ["--max-rss", "1GiB", "--max-pss", "1GiB", "--max-growth", "1GiB/s"];
    let fail_on = ["--fail-on", "leak,level:emergency,alert:critical,limit-in:10s"];
    run(&[&demo[..], &gates, &fail_on, &["--config", &config]].concat());
    check(&read_json(Path::new(&summary)));
    check(&read_json(Path::new(&told)));

    let unzipped = memcli(&["report", &trace, "-f", "json"]).output().unwrap();
    check(&serde_json::from_slice(&unzipped.stdout).unwrap());
    for command in [
        &["status", "self", "system", "999999", "--for", "1s", "--json"][..],
        &["leak", &trace, "--json"],
        &["diff", &trace, &trace, "--json"],
        &["budget", &trace, "--json"],
        &["budget", "--json"],
        &["doctor", "--json"],
        &["config", "check", "--json", "--config", &config],
        &["config", "explain", "budget.total", "--json", "--config", &config],
        &["config", "diff", &config, "--json"],
        &["config", "plan", &config, "--trace", &trace, "--json"],
    ] {
        let said = run(command);
        check(&serde_json::from_str(&said.stdout).unwrap_or_else(|error| {
            panic!("{command:?}: {error}: {}{}", said.stdout, said.stderr)
        }));
    }
    let replayed = run(&["replay", &trace, "--json", "--config", &config]);
    let replayed = rows(&replayed.stdout);
    replayed.iter().for_each(check);
    assert_eq!(replayed.last().unwrap()["schema"], "memcli.replay/1");

    let runs = at("runs.json");
    let base = ["--baseline", &trace, "--fail-on", "regression", "--summary", &runs];
    run(&[&["run", "--runs", "2"][..], &base, &["--max-rss", "1GiB", "--", "sleep", "0.3"]]
        .concat());
    let runs = read_json(Path::new(&runs));
    assert_eq!(runs["schema"], "memcli.runs/1");
    check(&runs);
}

#[test]
fn every_row_of_a_watch_and_of_its_trace_is_what_the_schemas_say() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (trace, config) = (at("t.jsonl.gz"), at("c.toml"));
    fs::write(&config, "schema_version = 3\n[budget]\ntotal = \"16MiB\"\n").unwrap();
    let mut leak = memcli(&["demo", "leak", "--unwatched", "--rate", "16MiB/s", "--for", "1m"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = leak.id().to_string();
    let words = ["watch", "--json", "--for", "5s", "-o", &trace, "--config", &config, &pid];
    let said = run(&words);
    leak.kill().unwrap();
    leak.wait().unwrap();
    let events = rows(&said.stdout);
    events.iter().for_each(check);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for event in &events {
        *kinds.entry(event["kind"].as_str().unwrap_or("summary").to_owned()).or_default() += 1;
    }
    for kind in ["sample", "level", "alert", "ended", "summary"] {
        assert!(kinds.contains_key(kind), "{kinds:?}");
    }

    let file = fs::File::open(&trace).unwrap();
    let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(file)).unwrap();
    let trace = rows(&text);
    for row in &trace {
        check_as("memcli.trace/1", row);
    }
    for key in ["schema", "sample", "processes", "event", "end"] {
        assert!(trace.iter().any(|row| row.get(key).is_some()), "no {key} in {text}");
    }
}
