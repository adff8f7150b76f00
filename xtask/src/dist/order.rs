//! Puts what a watch does again and again side by side in the program.
//!
//! The kernel maps sixteen pages around each one that is touched. The functions of a watch that has settled are 360 KiB, and
//! spread over the program they would keep 2.8 MiB of it resident.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::shell;

/// The functions, as `nm --demangle` names them. One that is not there any more is passed over, so that an old list makes
/// a larger program in memory and never a wrong one. Its first lines say how it is made.
const STEADY: &str = include_str!("../../dist/steady.txt");

/// Writes the order in which the linker is to place the functions of `program`, which must have its symbols still; `None`
/// where there is no `nm` to read them with.
pub(super) fn write(program: &Path, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !shell::exists("nm", "--version") {
        return Ok(None);
    }
    let list = |how: &[&str]| shell::read(Command::new("nm").args(how).arg(program));
    let (mangled, plain) = (list(&["--no-sort"])?, list(&["--no-sort", "--demangle"])?);
    let path = folder.join("order.txt");
    std::fs::write(&path, order(&mangled, &plain).join("\n"))
        .with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(Some(path))
}

/// The symbols of the listed functions, from two lists that `nm` made in the same order.
fn order<'a>(mangled: &'a str, plain: &'a str) -> Vec<&'a str> {
    let mut symbols: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (mangled, plain) in mangled.lines().zip(plain.lines()) {
        if let (Some(symbol), Some(name)) = (name(mangled), name(plain)) {
            symbols.entry(name).or_default().push(symbol);
        }
    }
    let listed = STEADY.lines().filter(|line| !line.starts_with('#'));
    listed.filter_map(|name| symbols.get(name)).flatten().copied().collect()
}

/// What follows the address and the kind.
fn name(line: &str) -> Option<&str> {
    let (_, rest) = line.trim_start().split_once(' ')?;
    rest.split_once(' ').map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbols_of_listed_functions_come_in_the_order_of_the_list() {
        let names: Vec<&str> = STEADY.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(names.len() > 100, "{}", names.len());
        let (first, last) = (names[0], names[names.len() - 1]);
        let plain = format!(
            "00010 t {last}\n00020 t main\n                 U abort\n00030 T {first}\n00040 t {first}\n"
        );
        let mangled = "00010 t a\n00020 t main\n                 U abort\n00030 T b\n00040 t c\n";
        let sorted = order(mangled, &plain);
        let wanted: Vec<&str> = ["b", "c", "a"].into();
        assert_eq!(
            sorted.iter().filter(|name| wanted.contains(name)).collect::<Vec<_>>(),
            wanted.iter().collect::<Vec<_>>()
        );
    }
}
