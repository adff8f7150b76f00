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

/// Below this share of the list it is of another program, and is made anew.
const STALE_BELOW: f64 = 0.9;

/// Writes the order in which the linker is to place the functions of `program`, which must have its symbols still; `None`
/// where there is no `nm` to read them with. Says how much of the list the program still has.
pub(super) fn write(program: &Path, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    if !shell::exists("nm", "--version") {
        return Ok(None);
    }
    let list = |how: &[&str]| shell::read(Command::new("nm").args(how).arg(program));
    let (mangled, plain) = (list(&["--no-sort"])?, list(&["--no-sort", "--demangle"])?);
    let order = order(&mangled, &plain);
    println!("{}", told(&order));
    let path = folder.join("order.txt");
    std::fs::write(&path, order.symbols.join("\n"))
        .with_context(|| format!("failed to write `{}`", path.display()))?;
    Ok(Some(path))
}

/// The symbols of the listed functions.
struct Order<'a> {
    symbols: Vec<&'a str>,
    /// Names in the list, and those of them that the program has.
    listed: usize,
    found: usize,
}

fn told(order: &Order<'_>) -> String {
    let Order { listed, found, .. } = order;
    let share = *found as f64 / (*listed).max(1) as f64;
    let advice = if share < STALE_BELOW {
        ": the list is STALE and the program takes more memory than it need; the head of the list says how it is made"
    } else {
        ""
    };
    format!(
        "functions of a watch: {found} of the {listed} in `xtask/dist/steady.txt` are in the program{advice}"
    )
}

/// From two lists that `nm` made in the same order.
fn order<'a>(mangled: &'a str, plain: &'a str) -> Order<'a> {
    let mut symbols: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (mangled, plain) in mangled.lines().zip(plain.lines()) {
        if let (Some(symbol), Some(name)) = (name(mangled), name(plain)) {
            symbols.entry(name).or_default().push(symbol);
        }
    }
    let mut order = Order { symbols: Vec::new(), listed: 0, found: 0 };
    for name in STEADY.lines().filter(|line| !line.starts_with('#')) {
        order.listed += 1;
        if let Some(known) = symbols.get(name) {
            order.found += 1;
            order.symbols.extend(known);
        }
    }
    order
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
            "00010 t {last}\n00020 t not_listed\n                 U abort\n00030 T {first}\n00040 t {first}\n"
        );
        let mangled =
            "00010 t a\n00020 t not_listed\n                 U abort\n00030 T b\n00040 t c\n";
        let order = order(mangled, &plain);
        assert_eq!(order.symbols, ["b", "c", "a"]);
        assert_eq!((order.found, order.listed), (2, names.len()));
    }

    #[test]
    fn a_list_of_which_too_little_is_found_is_stale() {
        let told = |found| told(&Order { symbols: Vec::new(), listed: 200, found });
        assert!(told(179).contains("179 of the 200") && told(179).contains("STALE"));
        assert!(!told(180).contains("STALE"));
    }
}
