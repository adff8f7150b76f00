//! `cargo xtask fuzz`: libFuzzer on every target of the crate `fuzz`, for some seconds each.
//!
//! Coverage comes from the compiler's own pass, which the stable toolchain has; no nightly and no `cargo-fuzz` is needed, only a C++ compiler for libFuzzer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::page;
use crate::shell::{self, cargo};

/// Coverage by counters per edge, and the checks that a release build leaves out.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cdebug-assertions -Coverflow-checks -Cdebuginfo=1 --cfg fuzzing";
/// What no input may reach: seconds for one input, MiB of the whole process.
const TIMEOUT_SECONDS: u32 = 2;
const MEMORY_MIB: u32 = 512;
/// Above any file that the readers promise to read whole.
const MAX_LENGTH: u32 = 1 << 16;

/// What one target did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    runs: u64,
    edges: u64,
    corpus: u64,
    findings: usize,
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let (seconds, only) = options(args)?;
    let corpus = root.join("fuzz/corpus");
    let mut targets = names(&corpus)?;
    if let Some(unknown) = only.iter().find(|name| !targets.contains(name)) {
        bail!("no target `{unknown}`: there are {}", targets.join(", "));
    }
    targets.retain(|target| only.is_empty() || only.contains(target));
    let work = root.join("target/fuzz");
    let program = build(root, &work)?;
    let mut table = format!(
        "{seconds} s for each target, at most {TIMEOUT_SECONDS} s and {MEMORY_MIB} MiB for one input of at most {MAX_LENGTH} bytes.\n\n\
         | target | inputs run | edges reached | corpus | findings |\n|---|---:|---:|---:|---:|\n"
    );
    let mut findings = 0;
    for target in &targets {
        let figures = fuzz(&program, &work, &corpus.join(target), target, seconds)?;
        let Figures { runs, edges, corpus, findings: found } = figures;
        println!("{target}: {runs} inputs, {edges} edges, {found} findings");
        table.push_str(&format!("| {target} | {runs} | {edges} | {corpus} | {found} |\n"));
        findings += found;
    }
    println!("\n{table}");
    if only.is_empty() {
        page::write(root, "fuzz", &table)?;
    }
    Ok(findings == 0)
}

fn options(args: &[String]) -> anyhow::Result<(u64, Vec<String>)> {
    let (mut seconds, mut only) = (60, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let value = args.next().context("`--seconds` needs a number")?;
                seconds = value.parse().with_context(|| format!("`{value}` is not a number"))?;
            }
            name if !name.starts_with('-') => only.push(name.to_owned()),
            other => bail!("unknown option `{other}`"),
        }
    }
    Ok((seconds, only))
}

/// The targets are the folders of the corpus: the tests hold that each target has one.
fn names(corpus: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(corpus).context("failed to list `fuzz/corpus`")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(root: &Path, work: &Path) -> anyhow::Result<PathBuf> {
    let version = shell::read(Command::new("rustc").arg("-vV"))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    // Naming the target keeps the coverage pass away from build scripts and procedural macros.
    let mut build = cargo(
        root,
        ["build", "--release", "--package=fuzz", "--features=libfuzzer", "--target", host],
    );
    build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", work);
    build.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    build.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    let output = shell::capture(&mut build)?;
    if !output.good {
        bail!("the fuzzer does not build:\n{}", output.text);
    }
    Ok(work.join(host).join("release/fuzz"))
}

fn fuzz(
    program: &Path,
    work: &Path,
    seeds: &Path,
    target: &str,
    seconds: u64,
) -> anyhow::Result<Figures> {
    let grown = work.join("corpus").join(target);
    let findings = work.join("findings").join(target);
    for folder in [&grown, &findings] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to make `{}`", folder.display()))?;
    }
    let before = count(&findings)?;
    let mut fuzz = Command::new(program);
    fuzz.env("FUZZ_TARGET", target).arg(&grown).arg(seeds);
    fuzz.arg(format!("-artifact_prefix={}/", findings.display()));
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT_SECONDS}"));
    fuzz.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg(format!("-max_len={MAX_LENGTH}"));
    fuzz.args(["-print_final_stats=1", "-verbosity=1"]);
    let output = shell::capture(&mut fuzz)?;
    let found = count(&findings)? - before;
    if !output.good {
        println!("{}", output.text);
        println!("`{target}` broke; what broke it is in `{}`", findings.display());
    }
    let figures = figures(&output.text);
    // A fuzzer that ended badly without leaving its input is a finding as well.
    Ok(Figures { findings: found.max(usize::from(!output.good)), ..figures })
}

fn count(folder: &Path) -> anyhow::Result<usize> {
    Ok(std::fs::read_dir(folder)
        .with_context(|| format!("failed to list `{}`", folder.display()))?
        .count())
}

/// Reads libFuzzer's last status line, such as `#812 DONE cov: 88 ft: 120 corp: 14/1Kb ..`, and its closing statistics.
fn figures(text: &str) -> Figures {
    let mut figures = Figures::default();
    for line in text.lines() {
        if let Some(runs) = line.strip_prefix("stat::number_of_executed_units:") {
            figures.runs = runs.trim().parse().unwrap_or(0);
        }
        if !line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        for pair in words.windows(2) {
            let number = || pair[1].split('/').next().and_then(|number| number.parse().ok());
            match pair[0] {
                "cov:" => figures.edges = number().unwrap_or(figures.edges),
                "corp:" => figures.corpus = number().unwrap_or(figures.corpus),
                _ => {}
            }
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_lines_are_read() {
        let text = "#2\tINITED cov: 10 ft: 11 corp: 1/1b\n#812\tDONE   cov: 88 ft: 120 corp: 14/1Kb lim: 4\nstat::number_of_executed_units: 812\n";
        assert_eq!(figures(text), Figures { runs: 812, edges: 88, corpus: 14, findings: 0 });
    }

    #[test]
    fn options_name_targets_and_a_time() {
        let parse = |text: &str| options(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("units --seconds 5").unwrap(), (5, vec!["units".to_owned()]));
        assert!(parse("--seconds soon").is_err());
    }
}
