//! The same inputs through figment, config-rs and memcfg: what each says of a broken one, and how long a good one takes.
//!
//! ```text
//! cargo run --release --manifest-path crates/memcfg/benches/against/Cargo.toml
//! ```

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use memcfg::files::Sources;
use memcfg::history::{History, Mark, Release};
use memcfg::load::assemble;
use memcfg::schema::{Key, Kind, Schema};
use memcfg::spec::{Rule, Spec, Violation};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Doc {
    #[garde(dive)]
    mem: Mem,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Mem {
    #[garde(range(min = 1, max = 100))]
    warn_pct: u8,
    #[garde(range(min = 1, max = 100))]
    crit_pct: u8,
    #[garde(range(min = 1))]
    interval_ms: u64,
}

impl Default for Mem {
    fn default() -> Self {
        Self { warn_pct: 80, crit_pct: 90, interval_ms: 1000 }
    }
}

/// The others' document has a version key, as ours must.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Theirs {
    #[allow(dead_code, reason = "read by nobody, as a version is that is not acted upon")]
    version: i64,
    mem: Mem,
}

struct Case {
    name: &'static str,
    global: &'static str,
    project: &'static str,
    env: Option<(&'static str, &'static str)>,
}

const GOOD: &str = "version = 1\n[mem]\nwarn_pct = 80\ncrit_pct = 90\ninterval_ms = 500\n";

fn cases() -> Vec<Case> {
    let case = |name, project| Case { name, global: GOOD, project, env: None };
    vec![
        case("wrong type", "version = 1\n[mem]\nwarn_pct = \"high\"\n"),
        case("300 for u8", "version = 1\n[mem]\nwarn_pct = 300\n"),
        case("unknown key", "version = 1\n[mem]\nintervall_ms = 5\n"),
        case("duplicate key", "version = 1\n[mem]\nwarn_pct = 1\nwarn_pct = 2\n"),
        case("two at once", "version = 1\n[mem]\nwarn_pct = \"high\"\ncrit_pct = \"low\"\n"),
        Case {
            name: "variable of the wrong type",
            global: GOOD,
            project: "version = 1\n",
            env: Some(("M_MEM__WARN_PCT", "seventy")),
        },
        case("cross-field", "version = 1\n[mem]\ncrit_pct = 70\n"),
    ]
}

fn spec() -> Spec<Doc> {
    let percent = || Kind::Integer { min: 1, max: 100 };
    let schema = Schema::new().with([
        Key::new("mem.warn_pct", percent(), ""),
        Key::new("mem.crit_pct", percent(), ""),
        Key::new("mem.interval_ms", Kind::Integer { min: 1, max: i64::MAX }, ""),
    ]);
    let (number, mark) = (1, Mark::Number(1));
    let release = Release { number, key: "version", mark, schema, ops: Vec::new() };
    let rule = Rule::new(|doc: &Doc| {
        let Mem { warn_pct, crit_pct, .. } = doc.mem;
        let message = format!("`mem.warn_pct` ({warn_pct}) must be below `mem.crit_pct` ({crit_pct})");
        match warn_pct < crit_pct {
            true => Vec::new(),
            false => vec![Violation::error(message, &["mem.warn_pct", "mem.crit_pct"])],
        }
    });
    Spec::new(History::new(release)).env_prefix("M").rules([rule])
}

fn with_memcfg(spec: &Spec<Doc>, files: &[PathBuf; 2], env: &[(String, String)]) -> Result<Doc, String> {
    let sources = Sources::new().file(&files[0]).file(&files[1]).env(env.iter().cloned());
    let joined = |all: Vec<memcfg::Diagnostic>| {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let (inputs, _) = sources.read().map_err(joined)?;
    assemble(spec, &inputs).map(|loaded| loaded.value).map_err(joined)
}

fn with_figment(files: &[PathBuf; 2]) -> Result<Mem, String> {
    Figment::new()
        .merge(Serialized::default("mem", Mem::default()))
        .merge(Toml::file(&files[0]))
        .merge(Toml::file(&files[1]))
        .merge(Env::prefixed("M_").split("__"))
        .extract::<Theirs>()
        .map(|theirs| theirs.mem)
        .map_err(|error| error.to_string())
}

fn with_config(files: &[PathBuf; 2]) -> Result<Mem, String> {
    config::Config::builder()
        .add_source(config::File::from(files[0].as_path()))
        .add_source(config::File::from(files[1].as_path()))
        .add_source(config::Environment::with_prefix("M").prefix_separator("_").separator("__"))
        .build()
        .and_then(config::Config::try_deserialize::<Theirs>)
        .map(|theirs| theirs.mem)
        .map_err(|error| error.to_string())
}

fn write(dir: &Path, case: &Case) -> [PathBuf; 2] {
    let files = [dir.join("global.toml"), dir.join("project.toml")];
    std::fs::write(&files[0], case.global).unwrap();
    std::fs::write(&files[1], case.project).unwrap();
    files
}

fn median(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..501)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A message as it is printed, in a cell of a table: what Markdown would take for its own is said to be text.
fn cell(message: &str) -> String {
    let mut cell = String::new();
    for line in message.lines().map(str::trim) {
        if !cell.is_empty() {
            cell.push_str("<br>");
        }
        for c in line.chars() {
            if matches!(c, '\\' | '|' | '`' | '*' | '<') {
                cell.push('\\');
            }
            cell.push(c);
        }
    }
    cell
}

fn main() {
    let dir = std::env::temp_dir().join(format!("against-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    // Who names a file as seen from here names it as the others do.
    std::env::set_current_dir(&dir).unwrap();
    let spec = spec();
    let shown = |result: Result<String, String>| match result {
        Ok(_) => "*accepted*".to_owned(),
        Err(text) => cell(&text.replace(&format!("{}/", dir.display()), "")),
    };
    println!("| input | figment | config-rs | memcfg |\n|---|---|---|---|");
    for case in cases() {
        let files = write(&dir, &case);
        let env: Vec<_> = case.env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        // SAFETY: this program has one thread.
        for (name, value) in &env {
            unsafe { std::env::set_var(name, value) };
        }
        println!(
            "| {} | {} | {} | {} |",
            case.name,
            shown(with_figment(&files).map(|mem| format!("{mem:?}"))),
            shown(with_config(&files).map(|mem| format!("{mem:?}"))),
            shown(with_memcfg(&spec, &files, &env).map(|doc| format!("{doc:?}")))
        );
        for (name, _) in &env {
            unsafe { std::env::remove_var(name) };
        }
    }
    let good = Case { name: "", global: GOOD, project: GOOD, env: None };
    let files = write(&dir, &good);
    with_figment(&files).and(with_config(&files)).unwrap();
    let figment = median(|| drop(black_box(with_figment(&files))));
    let config = median(|| drop(black_box(with_config(&files))));
    let ours = median(|| drop(black_box(with_memcfg(&spec, &files, &[]))));
    println!("| load, two files, median of 501 | {figment:.0} us | {config:.0} us | {ours:.0} us |");
    std::fs::remove_dir_all(&dir).unwrap();
}
