//! A first file for a new user.

use std::path::Path;

use memtrack::Size;

use super::{VERSION, spec};
use crate::path::Segment;
use crate::save::{Editor, Expected, SaveError, Saved};
use crate::schema::ANY;
use crate::value::{self, Value};

/// A budget for a machine or container with `limit` bytes: half of it, 512 MiB to 8 GiB, and never above 90 % of it.
#[must_use]
pub fn suggested_budget(limit: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    let half = (limit / 2).clamp(512 * MIB, 8192 * MIB);
    let most = limit / 10 * 9;
    let budget = half.min(most);
    // A round figure reads better, and below the smallest budget there is nothing to round to.
    (budget / MIB * MIB).max(mempressure::config::MIN_BUDGET_TOTAL.bytes())
}

/// The text of a first file: the budget for a machine with `limit` bytes, and every other key with its default, as
/// comments. With a `limit` below the smallest budget, that smallest budget.
#[must_use]
pub fn init_text(limit: u64) -> String {
    let budget = Size(suggested_budget(limit)).exact();
    let spec = spec();
    let schema = spec.schema();
    let defaults = super::defaults();
    let mut out = format!(
        "# Settings of memcli. Every key below `total` shows its default; remove the `#` to set it.\n\
         # All keys: docs/reference/config.md\n\
         schema_version = {VERSION}\n"
    );
    let mut table = None;
    for key in schema.keys() {
        let Some((parent, Segment::Key(name))) = key.path.split_last() else { continue };
        if table.as_ref() != Some(&parent) {
            let about = schema.tables().find(|(path, _)| **path == parent).map(|(_, about)| about);
            out.push('\n');
            out.push_str(&comment(about.unwrap_or_default()));
            out.push_str(&format!("[{parent}]\n"));
            table = Some(parent);
        }
        out.push_str(&comment(&format!("{} ({})", key.about, key.kind.allowed())));
        let default = value::get(&defaults, &key.path).map(|node| &node.value);
        match default {
            _ if key.path.to_string() == "budget.total" => {
                out.push_str(&format!("total = \"{budget}\"\n"));
            }
            Some(Value::String(text)) => out.push_str(&format!("# {name} = \"{text}\"\n")),
            Some(value) => out.push_str(&format!("# {name} = {value}\n")),
            None if name == ANY => out.push_str("# cache = \"256MiB\"\n"),
            None => out.push_str(&format!("# {name} = \n")),
        }
    }
    out
}

fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// Writes the first file at `path`, where there must be none. On failure nothing is left behind.
///
/// # Errors
/// A conflict when there is a file; else the step that failed.
pub fn init(path: &Path, limit: u64) -> Result<Saved, SaveError> {
    let mut missing: Vec<_> =
        path.ancestors().skip(1).take_while(|dir| !dir.exists()).map(Path::to_path_buf).collect();
    let lock =
        path.file_name().map(|name| path.with_file_name(format!(".{}.lock", name.display())));
    let lock = lock.filter(|lock| !lock.exists());
    let result = Editor::new(path, |_| false).save(init_text(limit).as_bytes(), Expected::Absent);
    if result.is_err() {
        if let Some(lock) = lock {
            let _ = std::fs::remove_file(lock);
        }
        // The innermost first; one that somebody else has used meanwhile is not empty and stays.
        for directory in missing.drain(..) {
            let _ = std::fs::remove_dir(directory);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_fits_the_machine() {
        const GIB: u64 = 1 << 30;
        assert_eq!(suggested_budget(4 * GIB), 2 * GIB);
        assert_eq!(suggested_budget(64 * GIB), 8 * GIB);
        assert_eq!(suggested_budget(GIB / 2), 460 << 20, "512 MiB would be all there is");
        assert_eq!(suggested_budget(0), 16 << 20, "the smallest budget that may be set");
    }
}
