//! `cargo xtask live`: programs that leak and programs that do not, each watched by the built `memcli`, and whether it said so.
//!
//! Each program runs in three forms, all at once, under a `memcli watch` of its own. What is not installed is named and passed over.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, bail};
use serde_json::Value;

use super::SKIPPED;
use crate::shell::{self, cargo};
use program::{FORMS, Form, PROGRAMS, Program, Running};

/// How long each is watched unless told otherwise.
const SECONDS: u64 = 240;
/// A leak's rate may be off by this share of what the program keeps: headers and what an allocator rounds up to come on top.
const RATE_OFF: f64 = 0.10;

/// What was asked for.
#[derive(Debug)]
struct Options {
    seconds: u64,
    programs: Vec<&'static Program>,
}

/// What `memcli` said of one program in one form.
struct Said {
    verdict: String,
    /// In bytes per second.
    rate: Option<f64>,
    confidence: Option<f64>,
    /// Seconds into the watch when a leak was first told of.
    told_after: Option<f64>,
}

/// One program in one form, and what was said of it; `None` when it is not installed.
type Watched = (&'static Program, Form, anyhow::Result<Option<Said>>);

/// Watches them all. 0 when every verdict is as the program was built, 77 when none could be run, else 1; and the table.
pub(super) fn run(root: &Path, args: &[String]) -> anyhow::Result<(u8, String)> {
    let options = options(args)?;
    let memcli = build(root)?;
    let folder = root.join("target/long/live");
    fs::create_dir_all(&folder).context("failed to make a folder for the suite")?;
    println!("{} s, each program in {} forms at once", options.seconds, FORMS.len());
    let config = folder.join("config.toml");
    fs::write(&config, "schema_version = 3\n").context("failed to write a configuration")?;
    let watch = |program: &Program, form: Form| -> anyhow::Result<Option<Said>> {
        let own = folder.join(format!("{}-{}", program.name, form.word()));
        let running = Running::start(root, program, form, options.seconds, &own)?;
        running.map(|running| ask(&memcli, &running, options.seconds, &config, &own)).transpose()
    };
    let outcomes = thread::scope(|scope| {
        let watch = &watch;
        let threads: Vec<_> = options
            .programs
            .iter()
            .flat_map(|program| FORMS.map(|form| (*program, form)))
            .map(|(program, form)| (program, form, scope.spawn(move || watch(program, form))))
            .collect();
        let join = |(program, form, thread): (_, _, thread::ScopedJoinHandle<'_, _>)| {
            let outcome = thread.join().unwrap_or_else(|_| bail!("its watch panicked"));
            (program, form, outcome)
        };
        threads.into_iter().map(join).collect::<Vec<Watched>>()
    });
    let (code, table) = judged(&outcomes, options.seconds);
    println!("{table}");
    println!("live: the traces are in `{}`", folder.display());
    let called = [&["cargo xtask live".to_owned()], args].concat().join(" ");
    Ok((code, format!("From `{called}`{}:\n\n{table}", super::commit(root))))
}

fn options(args: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { seconds: SECONDS, programs: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().context("`--seconds` needs a number")?;
            options.seconds =
                value.parse().with_context(|| format!("`{value}` is not a number of seconds"))?;
        } else {
            let program = PROGRAMS.iter().find(|program| program.name == arg);
            options.programs.push(program.with_context(|| {
                format!("no program `{arg}`: there are {}", PROGRAMS.map(|p| p.name).join(", "))
            })?);
        }
    }
    if options.programs.is_empty() {
        options.programs.extend(&PROGRAMS);
    }
    Ok(options)
}

fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let built = shell::capture(&mut cargo(root, ["build", "--release", "--package=memcli"]))?;
    if !built.good {
        bail!("memcli does not build:\n{}", built.text);
    }
    Ok(root.join("target/release/memcli"))
}

/// Has `memcli watch` look at a program, and reads its summary. The trace stays beside it, for whoever asks why.
fn ask(
    memcli: &Path,
    running: &Running,
    seconds: u64,
    config: &Path,
    own: &Path,
) -> anyhow::Result<Said> {
    let (summary, trace) = (own.with_extension("json"), own.with_extension("jsonl.gz"));
    let mut watch = Command::new(memcli);
    watch.args(["watch", &running.pid(), "--for", &format!("{seconds}s"), "--interval", "250ms"]);
    // Away from the configuration of whoever runs it.
    watch.arg("--quiet").arg("--config").arg(config);
    watch.arg("--summary").arg(&summary).arg("-o").arg(&trace).stdin(Stdio::null());
    let output = watch.output().context("failed to start memcli")?;
    if !output.status.success() {
        bail!("memcli: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let summary = fs::read_to_string(&summary).context("memcli left no summary")?;
    said(&serde_json::from_str(&summary).context("the summary is not JSON")?)
}

fn said(summary: &Value) -> anyhow::Result<Said> {
    let verdict = &summary["verdict"];
    let told = summary["alerts"]["told"].as_array().map(Vec::as_slice).unwrap_or_default();
    let leak = told.iter().find(|alert| alert["cause"] == "leak");
    Ok(Said {
        verdict: verdict["kind"].as_str().context("the summary has no verdict")?.to_owned(),
        rate: verdict["rate_bytes_per_second"].as_f64(),
        confidence: verdict["confidence"].as_f64(),
        told_after: leak.and_then(|alert| alert["t"].as_f64()),
    })
}

impl Said {
    /// Whether that is what the program was built for, of which a leak has this rate.
    fn is_right(&self, form: Form, bytes_per_second: f64) -> bool {
        match form {
            Form::Leak => {
                let near = |rate: f64| (rate / bytes_per_second - 1.0).abs() <= RATE_OFF;
                self.verdict == "leak" && self.rate.is_some_and(near)
            }
            Form::Steady => self.verdict == "steady" && self.told_after.is_none(),
            // While it fills it looks like a leak, and may be told of as one.
            Form::Cache => self.verdict != "leak",
        }
    }
}

/// How the suite ends, and its table.
fn judged(watched: &[Watched], seconds: u64) -> (u8, String) {
    let (mut right, mut wrong) = (0, 0);
    let mut table = String::from(
        "| program | form | what it does | verdict | MiB/min, of those it keeps | confidence | told after | as built |\n\
         | --- | --- | --- | --- | ---: | ---: | ---: | --- |\n",
    );
    let mut missing = Vec::new();
    for (program, form, said) in watched {
        let row = |cells: [&str; 5]| {
            let does = form.does(program.kib_per_second, seconds);
            format!("| {} | {} | {does} | {} |\n", program.name, form.word(), cells.join(" | "))
        };
        match said {
            Ok(Some(said)) => {
                let keeps = (program.kib_per_second << 10) as f64;
                let good = said.is_right(*form, keeps);
                *(if good { &mut right } else { &mut wrong }) += 1;
                let or_none = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
                let rate = said.rate.map(|rate| match form {
                    Form::Leak => format!("{:.2} of {:.2}", per_minute(rate), per_minute(keeps)),
                    Form::Steady | Form::Cache => format!("{:.2} of 0", per_minute(rate)),
                });
                table.push_str(&row([
                    &said.verdict,
                    &or_none(rate),
                    &or_none(said.confidence.map(|share| format!("{share:.2}"))),
                    &or_none(said.told_after.map(|after| format!("{after:.0} s"))),
                    if good { "yes" } else { "**NO**" },
                ]));
            }
            Ok(None) if missing.contains(&program.name) => {}
            Ok(None) => {
                println!("SKIPPED {}: it is not installed", program.name);
                missing.push(program.name);
            }
            Err(error) => {
                wrong += 1;
                table.push_str(&row([&format!("{error:#}"), "-", "-", "-", "**NO**"]));
            }
        }
    }
    if !missing.is_empty() {
        table.push_str(&format!("\nNot installed here: {}.\n", missing.join(", ")));
    }
    let code = match (right, wrong) {
        (0, 0) => SKIPPED,
        (_, 0) => 0,
        _ => 1,
    };
    (code, table)
}

fn per_minute(bytes_per_second: f64) -> f64 {
    bytes_per_second * 60.0 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(kind: &str, rate: Option<f64>, alert: Option<f64>) -> Said {
        let told: Vec<Value> =
            alert.map(|t| json!({"cause": "leak", "t": t})).into_iter().collect();
        said(&json!({
            "verdict": {"kind": kind, "rate_bytes_per_second": rate, "confidence": null},
            "alerts": {"told": told},
        }))
        .unwrap()
    }

    #[test]
    fn a_verdict_is_right_when_it_is_what_the_program_was_built_for() {
        let right = |said: Said, form| said.is_right(form, 100.0);
        assert!(right(of("leak", Some(105.0), Some(9.0)), Form::Leak));
        assert!(!right(of("leak", Some(150.0), Some(9.0)), Form::Leak), "its rate is another");
        assert!(!right(of("growing", Some(100.0), None), Form::Leak));
        assert!(right(of("steady", None, None), Form::Steady));
        assert!(!right(of("steady", None, Some(9.0)), Form::Steady), "it was told of as a leak");
        assert!(!right(of("undecided", None, None), Form::Steady));
        assert!(right(of("steady", None, Some(9.0)), Form::Cache), "and taken back");
        assert!(!right(of("leak", Some(100.0), Some(9.0)), Form::Cache));
    }

    #[test]
    fn one_wrong_verdict_fails_and_nothing_at_all_is_a_skip() {
        let code = |said: Vec<anyhow::Result<Option<Said>>>| {
            let row = |said| (&PROGRAMS[0], Form::Steady, said);
            judged(&said.into_iter().map(row).collect::<Vec<_>>(), 240).0
        };
        let steady = || Ok(Some(of("steady", None, None)));
        assert_eq!(code(vec![Ok(None), Ok(None)]), SKIPPED);
        assert_eq!(code(vec![steady(), Ok(None)]), 0);
        assert_eq!(code(vec![steady(), Ok(Some(of("growing", Some(1.0), None)))]), 1);
        assert_eq!(code(vec![steady(), Err(anyhow::anyhow!("it ended"))]), 1);
        assert_eq!(code(vec![Err(anyhow::anyhow!("it ended")), Ok(None)]), 1);
    }

    #[test]
    fn options_name_seconds_and_programs() {
        let parse =
            |text: &str| options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let all = parse("").unwrap();
        assert_eq!((all.seconds, all.programs.len()), (SECONDS, PROGRAMS.len()));
        let some = parse("redis --seconds 20 c").unwrap();
        let names: Vec<_> = some.programs.iter().map(|program| program.name).collect();
        assert_eq!((some.seconds, names), (20, vec!["redis", "c"]));
        assert!(parse("--seconds").is_err() && parse("perl").is_err() && parse("--fast").is_err());
    }
}
