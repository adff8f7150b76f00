//! What the leak verdict is worth beside its rivals, on labelled traces.
//!
//! The corpus, its scorer and the rivals are not part of this tree: `LEAKBENCH` names their folder, which holds `score.py`, `baselines.py`
//! (Python with numpy) and indexes as `data/*.index.jsonl`. `LEAKBENCH_PYTHON` names the interpreter, `python3` by default. Beside the corpus,
//! fresh traces are written by memleak's example `holdout`, with a seed that is taken from the clock: nothing can have been fitted to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::page;
use crate::shell::{self, cargo};

const RIVALS: [(&str, &str); 6] = [
    ("envelope", "nested windows, saturation models (Python)"),
    ("mk_sen", "Mann-Kendall and Sen, no correction"),
    ("mprof", "slope of everything, as `mprof plot -s`"),
    ("prom", "Prometheus-style `deriv[1h]` for 30 min"),
    ("spec60", "least squares over 60 min, 50 MB/h"),
    ("spec10", "least squares over 10 min, 50 MB/h"),
];
/// Traces of each family in a fresh set.
const EACH: &str = "8";

/// One labelled set of traces.
struct Set {
    name: String,
    index: PathBuf,
}

/// The programs of the corpus.
struct Tools {
    folder: PathBuf,
    python: String,
    work: PathBuf,
}

pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let Some(folder) = std::env::var_os("LEAKBENCH") else {
        println!(
            "SKIPPED: the accuracy of the leak verdict: set LEAKBENCH to the folder of the labelled traces"
        );
        println!(
            "  (score.py, baselines.py, data/*.index.jsonl: one label and one gzipped `t_s,rss_bytes` file a trace)"
        );
        return Ok(());
    };
    let tools = Tools {
        folder: folder.into(),
        python: std::env::var("LEAKBENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned()),
        work: root.join("target/leakbench"),
    };
    fs::create_dir_all(&tools.work).context("failed to make `target/leakbench`")?;
    let mut sets = corpus(&tools.folder)?;
    sets.push(fresh(root, &tools)?);
    let mut text = String::from(
        "MB are 2^20 bytes. *Any*: one alert ever on a clean trace is a false positive; *clean*: forgiven when it was raised during benign growth and \
         cleared soon after; *final*: the verdict at the end. In brackets: false positives. Rate and delay are medians.\n",
    );
    for set in &sets {
        println!("memleak: accuracy on {}", set.name);
        text.push_str(&table(root, &tools, set)?);
    }
    page::write(root, "leak", &text)
}

fn corpus(folder: &Path) -> anyhow::Result<Vec<Set>> {
    let data = folder.join("data");
    let mut sets = Vec::new();
    for entry in fs::read_dir(&data).context("failed to list `data` of LEAKBENCH")? {
        let index = entry.context("failed to list `data` of LEAKBENCH")?.path();
        let name = index.file_name().unwrap_or_default().to_string_lossy();
        if let Some(name) = name.strip_suffix(".index.jsonl") {
            sets.push(Set { name: format!("the corpus's `{name}` traces"), index: index.clone() });
        }
    }
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sets)
}

fn fresh(root: &Path, tools: &Tools) -> anyhow::Result<Set> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let folder = tools.work.join("fresh");
    let mut write = example(root, "holdout");
    write.arg(&folder).args([EACH, &seed.to_string()]);
    shell::read(&mut write)?;
    let name = format!("traces made for this run, {EACH} of each family, seed {seed}");
    Ok(Set { name, index: folder.join("index.jsonl") })
}

fn example(root: &Path, name: &str) -> Command {
    let mut command = cargo(root, ["run", "--release", "--quiet", "--package", "memleak"]);
    command.args(["--example", name, "--"]);
    command
}

fn table(root: &Path, tools: &Tools, set: &Set) -> anyhow::Result<String> {
    let ours = tools.work.join("memleak.jsonl");
    let mut predict = example(root, "leakbench");
    predict.arg(&set.index).arg("--out").arg(&ours);
    shell::read(&mut predict)?;
    let prefix = tools.work.join("rival");
    let mut baselines = Command::new(&tools.python);
    baselines.arg(tools.folder.join("baselines.py")).arg(&set.index);
    baselines.arg("--out").arg(&prefix).arg("--only").args(RIVALS.map(|(name, _)| name));
    shell::read(&mut baselines)?;
    let score = score(tools, &set.index, &ours)?;
    let mut text = format!(
        "\nOn {} ({} traces):\n\n| | any F1 | clean F1 | final F1 | rate off by | within 10 % | delay | leaked by then |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
        set.name, score["n"]
    );
    text.push_str(&row("memleak", &score));
    for (name, what) in RIVALS {
        let rival = tools.work.join(format!("rival.{name}.jsonl"));
        text.push_str(&row(&format!("{name}: {what}"), &self::score(tools, &set.index, &rival)?));
    }
    text.push_str(&left_out(tools, set, &ours, &score)?);
    Ok(text)
}

fn score(tools: &Tools, index: &Path, predictions: &Path) -> anyhow::Result<Value> {
    let mut score = Command::new(&tools.python);
    score.arg(tools.folder.join("score.py")).arg(index).arg(predictions).arg("--json");
    serde_json::from_str(&shell::read(&mut score)?).context("the scorer's answer is not JSON")
}

fn row(who: &str, score: &Value) -> String {
    let f1 = |mode: &str| {
        format!("{:.3} ({})", score[mode]["f1"].as_f64().unwrap_or(0.0), score[mode]["fp"])
    };
    let number = |key: &str| score[key].as_f64();
    let percent = |key: &str, digits: usize| {
        number(key).map_or("-".to_owned(), |v| format!("{:.digits$} %", 100.0 * v))
    };
    let plain =
        |key: &str, unit: &str| number(key).map_or("-".to_owned(), |v| format!("{v:.1} {unit}"));
    format!(
        "| {who} | {} | {} | {} | {} | {} | {} | {} |\n",
        f1("any"),
        f1("clean"),
        f1("final"),
        percent("rate_err_median", 2),
        percent("rate_within_10pct", 0),
        plain("delay_h_median", "h"),
        plain("delay_mb_median", "MB"),
    )
}

/// Each family is left out of the scores in turn: how far the worst of these lies from the whole, and which family held it up. The margins stay as they are;
/// memleak's example `refit` chooses them anew.
fn left_out(tools: &Tools, set: &Set, ours: &Path, whole: &Value) -> anyhow::Result<String> {
    let text = fs::read_to_string(&set.index).context("failed to read an index")?;
    let labels: Vec<(Value, &str)> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| Ok((serde_json::from_str(line)?, line)))
        .collect::<Result<_, serde_json::Error>>()
        .context("an index that is not JSON")?;
    let Some(families) = whole["families"].as_object() else {
        bail!("the scorer names no families")
    };
    let part = tools.work.join("part.index.jsonl");
    let mut worst =
        [("clean", f64::INFINITY, String::new()), ("final", f64::INFINITY, String::new())];
    for family in families.keys() {
        let kept: Vec<&str> = labels
            .iter()
            .filter(|(label, _)| label["family"].as_str() != Some(family))
            .map(|(_, line)| *line)
            .collect();
        fs::write(&part, kept.join("\n")).context("failed to write an index")?;
        let score = score(tools, &part, ours)?;
        for (mode, least, which) in &mut worst {
            let f1 = score[&**mode]["f1"].as_f64().unwrap_or(0.0);
            if f1 < *least {
                (*least, *which) = (f1, family.clone());
            }
        }
    }
    let say = |(mode, least, which): &(&str, f64, String)| {
        format!("{mode} {least:.3} (without `{which}`)")
    };
    Ok(format!(
        "\nmemleak with each family left out of the score in turn, at worst: {}.\n",
        worst.each_ref().map(say).join(", ")
    ))
}
