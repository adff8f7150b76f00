//! The tables of `docs/benchmarks.md` and of pages like it: each stands between two markers and is replaced whole.

use std::path::Path;

use anyhow::{Context, bail};

/// The page of most tables.
pub(crate) const BENCHMARKS: &str = "docs/benchmarks.md";

/// [`write_to`] the page of most tables.
pub(crate) fn write(root: &Path, section: &str, body: &str) -> anyhow::Result<()> {
    write_to(root, BENCHMARKS, section, body)
}

/// Replaces the text between the markers of `section`, under a line that names machine and date. A section that is missing is added at the end.
pub(crate) fn write_to(root: &Path, name: &str, section: &str, body: &str) -> anyhow::Result<()> {
    let path = root.join(name);
    let page =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read `{name}`"))?;
    let text = format!("{}\n\n{}", machine(), body.trim_end());
    let page =
        replace(&page, section, &text).with_context(|| format!("failed to edit `{name}`"))?;
    std::fs::write(&path, page).with_context(|| format!("failed to write `{name}`"))
}

fn replace(page: &str, section: &str, text: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- bench:{section} begin -->");
    let end = format!("<!-- bench:{section} end -->");
    let Some((before, rest)) = page.split_once(&begin) else {
        return Ok(format!("{}\n\n## {section}\n\n{begin}\n{text}\n{end}\n", page.trim_end()));
    };
    let Some((_, after)) = rest.split_once(&end) else {
        bail!("there is no `{end}`");
    };
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

/// What was measured on, and when: no name of the machine, only its kind.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name")
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or(0, |kib| (kib + (1 << 19)) >> 20);
    // What follows the numbers is a name that whoever built the kernel gave it.
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.split('-').next().unwrap_or_default();
    // Others who work on the machine meanwhile are part of the figure.
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let date = command("date", &["-u", "+%Y-%m-%d %H:%M UTC"]);
    let rust = command("rustc", &["--version"]);
    format!(
        "{date}; {processor}, {cores} cores, {memory} GiB, load {load}; Linux {}; {rust}",
        kernel.trim()
    )
}

/// The first line of a program's output, or nothing.
pub(crate) fn command(program: &str, args: &[&str]) -> String {
    let output = std::process::Command::new(program).args(args).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// The middle of a list; the mean of the middle two when they are even in number.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_between_its_markers_changes() {
        let page = "a\n<!-- bench:x begin -->\nold\n<!-- bench:x end -->\nb\n";
        let new = replace(page, "x", "new").unwrap();
        assert_eq!(new, "a\n<!-- bench:x begin -->\nnew\n<!-- bench:x end -->\nb\n");
        assert_eq!(replace(&new, "x", "new").unwrap(), new);
        assert!(
            replace("<!-- bench:x begin -->\n", "x", "new").is_err(),
            "a section that never ends"
        );
    }

    #[test]
    fn a_new_section_comes_last() {
        let page = replace("# Figures\n", "y", "new").unwrap();
        assert_eq!(
            page,
            "# Figures\n\n## y\n\n<!-- bench:y begin -->\nnew\n<!-- bench:y end -->\n"
        );
        assert!(replace(&page, "y", "newer").unwrap().contains("newer"));
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }
}
