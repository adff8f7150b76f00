//! What people read when a document is wrong, kept word for word in `tests/messages.txt`.
//!
//! `UPDATE=1 cargo test -p memcfg --test messages` writes the file anew; read the difference before it is kept.

use std::path::Path;

use memcfg::Diagnostic;
use memcfg::document::{self, spec};
use memcfg::load::{Inputs, Text, assemble};
use memcfg::origin::SourceKind;
use memcfg::overlay::Override;

/// A document that is wrong in one way.
#[derive(Default)]
struct Case {
    name: &'static str,
    global: Option<&'static [u8]>,
    project: Option<&'static str>,
    env: &'static [(&'static str, &'static str)],
    flags: &'static [(&'static str, &'static str, &'static str)],
}

fn global(name: &'static str, text: &'static str) -> Case {
    Case { name, global: Some(text.as_bytes()), ..Case::default() }
}

fn bytes(name: &'static str, text: &'static [u8]) -> Case {
    Case { name, global: Some(text), ..Case::default() }
}

fn env(name: &'static str, env: &'static [(&'static str, &'static str)]) -> Case {
    Case { name, env, ..Case::default() }
}

fn cases() -> Vec<Case> {
    vec![
        global("no version", "[budget]\ntotal = \"1GiB\"\n"),
        global("empty file", ""),
        global("newer version", "schema_version = 4\n"),
        global("newer version in the old key", "version = \"5.0\"\n"),
        global("version that never was", "version = \"1.5\"\n"),
        global("version as text", "schema_version = \"three\"\n"),
        global("value missing", "schema_version = 3\n[budget]\ntotal =\n"),
        global("text without quotes", "schema_version = 3\n[budget]\ntotal = 3GiB\n"),
        global("unclosed string", "schema_version = 3\n[budget]\ntotal = \"3GiB\n"),
        global("unclosed header", "schema_version = 3\n[budget\ntotal = \"3GiB\"\n"),
        global("yaml in a toml file", "schema_version = 3\nbudget:\n  total: 3GiB\n"),
        global("duplicate key", "schema_version = 3\n[budget]\nwarning = 0.8\nwarning = 0.9\n"),
        global(
            "duplicate table",
            "schema_version = 3\n[leak]\nmin_samples = 10\n[leak]\nmin_samples = 11\n",
        ),
        bytes("not utf-8", b"schema_version = 3\n# caf\xe9\n"),
        bytes("utf-16", b"\xff\xfes\0c\0h\0"),
        bytes("nul", b"schema_version = 3\n\0\n"),
        bytes("lone carriage return", b"schema_version = 3\r[budget]\r"),
        global("not a number", "schema_version = 3\n[budget]\nwarning = nan\n"),
        global("infinite", "schema_version = 3\n[budget]\nwarning = inf\n"),
        global(
            "too large for 64 bits",
            "schema_version = 3\n[workload]\nbatch_size = 99999999999999999999\n",
        ),
        global("unknown key", "schema_version = 3\n[budget]\ntotl = \"3GiB\"\n"),
        global("unknown table", "schema_version = 3\n[presure]\nband = 0.05\n"),
        global("key in the wrong table", "schema_version = 3\n[budget]\nhold = \"10s\"\n"),
        global("key like no other", "schema_version = 3\n[budget]\nfrobnicate = 1\n"),
        global("a value where a table belongs", "schema_version = 3\nbudget = \"3GiB\"\n"),
        global("a table where a value belongs", "schema_version = 3\n[budget.total]\nsize = 3\n"),
        global("text for a number", "schema_version = 3\n[workload]\nbatch_size = \"many\"\n"),
        global("a number for text", "schema_version = 3\n[track]\ntier = 1\n"),
        global("a quoted boolean", "schema_version = 3\n[pressure]\nenabled = \"false\"\n"),
        global(
            "a fraction for a whole number",
            "schema_version = 3\n[workload]\nbatch_size = 50.5\n",
        ),
        global("below the range", "schema_version = 3\n[workload]\nbatch_size = 5\n"),
        global("above the range", "schema_version = 3\n[leak]\nwindow = \"365d\"\n"),
        global("a percentage for a share", "schema_version = 3\n[budget]\nwarning = 80\n"),
        global("a negative size", "schema_version = 3\n[workload]\nmax_file_size = -1\n"),
        global(
            "a size of another language",
            "schema_version = 3\n[workload]\nmax_file_size = \"5Mo\"\n",
        ),
        global("GB is not GiB", "schema_version = 3\n[project]\nestimated = \"5GB\"\n"),
        global("a duration without a unit", "schema_version = 3\n[pressure]\nhold = 10\n"),
        global(
            "a duration without a unit, as text",
            "schema_version = 3\n[pressure]\nhold = \"10\"\n",
        ),
        global("a rate without a time", "schema_version = 3\n[leak]\nwarning_rate = \"50MiB\"\n"),
        global(
            "a floor of growth out of range",
            "schema_version = 3\n[leak]\nleast_growth = \"4KiB\"\n",
        ),
        global(
            "a floor of growth that is a rate",
            "schema_version = 3\n[leak]\nleast_growth = \"5MiB/h\"\n",
        ),
        global("a budget of nothing", "schema_version = 3\n[budget]\ntotal = \"0%\"\n"),
        global("an unknown word", "schema_version = 3\n[project]\npriority = \"hihg\"\n"),
        global(
            "an unknown word like no other",
            "schema_version = 3\n[pressure]\npolicy = \"brutal\"\n",
        ),
        global(
            "an unknown word in an array",
            "schema_version = 3\n[pressure]\nsignals = [\"system\", \"cgruop\"]\n",
        ),
        global("an empty array", "schema_version = 3\n[pressure]\nsignals = []\n"),
        global("no final line feed", "schema_version = 3\n[budget]\nwarning = 0.8"),
        global(
            "shares that do not rise",
            "schema_version = 3\n[budget]\nwarning = 0.95\nprompt = 0.9\n",
        ),
        global(
            "components above the total",
            "schema_version = 3\n[budget]\ntotal = \"1GiB\"\n[budget.components]\nglobal_index = \"512MiB\"\ncache = \"600MiB\"\n",
        ),
        global(
            "an index too small",
            "schema_version = 3\n[budget.components]\nglobal_index = \"100MiB\"\n",
        ),
        global(
            "thresholds within the band",
            "schema_version = 3\n[pressure]\nband = 0.1\n[pressure.thresholds]\nwarning = 0.75\n",
        ),
        global("samples that do not fit", "schema_version = 3\n[track]\ninterval = \"10m\"\n"),
        global(
            "critical below warning",
            "schema_version = 3\n[leak]\ncritical_rate = \"1MiB/h\"\nrss_critical = \"1MiB\"\n",
        ),
        global("an old key in version 1", "version = \"1.0\"\nmax_worker = 8\n"),
        global("an old value outside the new range", "version = \"1.0\"\nmax_workers = 100\n"),
        global("an old conflict", "version = \"2.0\"\n[memory]\nwarning_threshold_percent = 95\n"),
        Case {
            name: "a project that sets what is global",
            project: Some("schema_version = 3\n[alerts]\nexec = [\"curl\"]\n"),
            ..Case::default()
        },
        Case {
            name: "a project above the default",
            project: Some("schema_version = 3\n[project]\nestimated = \"2GiB\"\n"),
            ..Case::default()
        },
        Case {
            name: "a file against a variable",
            global: Some(b"schema_version = 3\n[budget]\nwarning = 0.7\nprompt = 0.85\n"),
            env: &[("MEMCLI_BUDGET__WARNING", "0.9")],
            ..Case::default()
        },
        Case {
            name: "a flag against a project",
            project: Some("schema_version = 3\n[budget]\ntotal = \"1GiB\"\n"),
            flags: &[("budget.components.cache", "2GiB", "--component cache")],
            ..Case::default()
        },
        env("a variable of the wrong type", &[("MEMCLI_WORKLOAD__BATCH_SIZE", "many")]),
        env("a variable out of range", &[("MEMCLI_BUDGET__TOTAL", "1MiB")]),
        env("a variable that is no array", &[("MEMCLI_PRESSURE__SIGNALS", "system,cgroup")]),
        env(
            "a variable nobody reads",
            &[("MEMCLI_BUDGET__TOTL", "1GiB"), ("MEMCLI_WHATEVER", "1")],
        ),
        Case {
            name: "a flag out of range",
            flags: &[("track.interval", "1ms", "--interval")],
            ..Case::default()
        },
        Case {
            name: "a flag for no key",
            flags: &[("track.intervall", "1s", "--set track.intervall")],
            ..Case::default()
        },
    ]
}

fn found(case: &Case) -> Vec<Diagnostic> {
    let mut inputs = Inputs::default();
    if let Some(text) = case.global {
        inputs.texts.push(Text::new(SourceKind::Global, "config.toml", text));
    }
    if let Some(text) = case.project {
        inputs.texts.push(Text::new(SourceKind::Project, ".memcli/config.toml", text));
    }
    inputs.env = case.env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let flags = case.flags.iter().map(|(key, text, name)| Override::new(key, *text, *name));
    inputs.flags = flags.collect();
    match assemble(&spec(), &inputs) {
        Ok(loaded) => loaded.warnings,
        Err(problems) => problems,
    }
}

#[test]
fn messages_are_what_they_were() {
    let cases = cases();
    assert!(cases.len() >= 40);
    let mut out = String::new();
    for case in &cases {
        out.push_str(&format!("=== {}\n", case.name));
        let diagnostics = found(case);
        assert!(!diagnostics.is_empty(), "{}: nothing was found", case.name);
        for diagnostic in diagnostics {
            assert!(!diagnostic.labels.is_empty(), "{}: it points nowhere", case.name);
            out.push_str(&format!("{diagnostic}\n"));
        }
        out.push('\n');
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages.txt");
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(&path, &out).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, expected)) in out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of tests/messages.txt", line + 1);
    }
    assert!(out == expected, "tests/messages.txt is shorter or longer");
}

#[test]
fn every_key_with_an_unfit_value_is_refused_at_its_place() {
    let schema = spec();
    let keys = schema.schema().keys();
    for key in keys {
        let (parent, _) = key.path.split_last().unwrap();
        let path = key.path.to_string().replace('*', "any");
        let name = path.rsplit('.').next().unwrap();
        for unfit in ["{}", "[[]]", "1979-05-27", "\"\\u0001\"", "-12345.5"] {
            if unfit == "\"\\u0001\"" && path == "alerts.exec" {
                continue;
            }
            let text = format!("schema_version = 3\n[{parent}]\n{name} = {unfit}\n");
            let inputs = Inputs {
                texts: vec![Text::new(SourceKind::Global, "c.toml", text)],
                ..Inputs::default()
            };
            let Err(found) = assemble(&spec(), &inputs) else {
                // An empty table sets nothing.
                assert_eq!(unfit, "{}", "{path} = {unfit} was taken");
                continue;
            };
            let place = found[0].labels[0].place();
            assert!(place.starts_with("c.toml:3:"), "{path} = {unfit}: {}", found[0]);
            assert!(found[0].message.contains(&path), "{path} = {unfit}: {}", found[0]);
        }
    }
}

/// Edits that typing makes: a letter left out, doubled, exchanged with its neighbour, hit beside its key.
fn typos(word: &str, edits: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut out = Vec::new();
    for at in 0..letters.len() {
        let mut left_out = letters.clone();
        left_out.remove(at);
        out.push(left_out);
        let mut doubled = letters.clone();
        doubled.insert(at, letters[at]);
        out.push(doubled);
        if at + 1 < letters.len() && letters[at] != letters[at + 1] {
            let mut swapped = letters.clone();
            swapped.swap(at, at + 1);
            out.push(swapped);
        }
        let mut replaced = letters.clone();
        replaced[at] = if letters[at] == 'x' { 'z' } else { 'x' };
        out.push(replaced);
    }
    let once: Vec<String> = out.into_iter().map(|word| word.into_iter().collect()).collect();
    if edits == 1 {
        return once;
    }
    once.iter().step_by(3).flat_map(|word| typos(word, 1).into_iter().step_by(5)).collect()
}

#[test]
fn nine_of_ten_typos_in_keys_are_understood() {
    let spec = spec();
    let (mut right, mut all, mut missed) = (0, 0, Vec::new());
    for key in spec.schema().keys().iter().filter(|key| !key.path.to_string().ends_with('*')) {
        let path = key.path.to_string();
        let (table, name) = path.rsplit_once('.').unwrap();
        for edits in [1, 2] {
            for typo in typos(name, edits) {
                let wrong = memcfg::path::KeyPath::parse(table).key(&typo);
                if typo.is_empty() || spec.schema().key(&wrong).is_some() {
                    continue;
                }
                all += 1;
                if spec.schema().suggest(&wrong).is_some_and(|meant| meant.to_string() == path) {
                    right += 1;
                } else {
                    missed.push(format!("{path} as {typo}"));
                }
            }
        }
    }
    println!("{right} of {all} typos understood");
    assert!(right * 10 >= all * 9, "{right} of {all}: {missed:#?}");
}

#[test]
fn schema_and_types_agree_on_every_bound() {
    // Both ends of each range are taken, and what lies just outside is refused by the type as well as by the schema.
    use memcfg::document::Config;
    use memcfg::schema::Kind;
    let config = |path: &str, value: toml::Value| -> Result<(), String> {
        let mut steps: Vec<&str> = path.split('.').collect();
        steps.reverse();
        let mut value = value;
        for step in steps {
            value = toml::Value::Table(toml::Table::from_iter([(step.to_owned(), value)]));
        }
        let config: Config = value.try_into().map_err(|error| error.to_string())?;
        garde::Validate::validate(&config).map_err(|report| report.to_string())
    };
    let mut bounds = 0;
    for key in spec().schema().keys() {
        let path = key.path.to_string().replace('*', "any");
        let (inside, outside): (Vec<toml::Value>, Vec<toml::Value>) = match &key.kind {
            Kind::Integer { min, max } => {
                (vec![(*min).into(), (*max).into()], vec![(min - 1).into(), (max + 1).into()])
            }
            Kind::Float { min, max } => (
                vec![(*min).into(), (*max).into()],
                vec![(min - 0.001).into(), (max + 0.001).into()],
            ),
            Kind::Form { form, min, max } if max.is_finite() => {
                let text = |value: f64| toml::Value::from((form.show)(value));
                let step = if form.name == "duration" { 0.001 } else { 1.0 };
                let mut outside = vec![text(max + step)];
                if *min > 0.0 {
                    outside.push(text(min - step));
                }
                (vec![text(*min), text(*max)], outside)
            }
            Kind::Choice(words) => (
                words.iter().map(|word| toml::Value::from(*word)).collect(),
                vec!["no such word".into()],
            ),
            _ => continue,
        };
        for value in inside {
            // Other rules of the type may object to this value beside the defaults, but not with this key's range.
            if let Err(why) = config(&path, value.clone()) {
                assert!(why.contains("not be below"), "{path} = {value}: {why}");
            }
            bounds += 1;
        }
        for value in outside {
            assert!(config(&path, value.clone()).is_err(), "{path} = {value} is taken by the type");
            bounds += 1;
        }
    }
    assert!(bounds > 100, "{bounds}");
}

#[test]
fn schema_and_types_have_the_same_keys() {
    // Every default is a key of the schema, and every key is known to the type.
    let defaults = document::defaults();
    for (path, _) in memcfg::value::leaves(&defaults) {
        assert!(spec().schema().key(&path).is_some(), "{path} is in the type only");
    }
    let unset = ["budget.components.*", "track.interval"];
    for key in spec().schema().keys() {
        let path = key.path.to_string();
        let known =
            memcfg::value::get(&defaults, &key.path).is_some() || unset.contains(&path.as_str());
        assert!(known, "{path} is in the schema only");
    }
}

#[test]
fn each_variable_sets_one_key_and_no_other() {
    let spec = spec();
    let names: Vec<_> =
        spec.schema().keys().iter().map(|key| memcfg::overlay::variable("MEMCLI", key)).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    for key in spec.schema().keys() {
        for step in key.path.keys() {
            assert!(
                !step.contains("__") && step == step.to_lowercase(),
                "`{step}` has no variable"
            );
        }
    }
}
