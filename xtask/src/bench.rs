//! `cargo xtask bench`: figures with their rivals in the same run, written into `docs/benchmarks.md`.

mod layers;
mod leak;
mod meter;
mod system;
mod tool;
mod watch;

use std::path::Path;

use anyhow::{Context, bail};

/// What was asked for.
struct Options {
    /// Compare with the budgets and fail when one is exceeded.
    gate: bool,
    /// How often each rival runs; its row is the median.
    rounds: usize,
    /// How long each one watches; unset, as long as its budget is stated for.
    seconds: Option<u64>,
    /// The chosen benches; empty means all.
    only: Vec<String>,
}

pub(crate) fn run(root: &Path, args: &[String]) -> anyhow::Result<bool> {
    let options = options(args)?;
    let layers = layers::all(root)?;
    let known = |name: &String| {
        matches!(name.as_str(), "run" | "watch" | "tool")
            || layers.iter().any(|layer| layer.is_called(name))
    };
    if let Some(unknown) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        bail!("no bench `{unknown}`: there are run, watch, tool, {}", names.join(", "));
    }
    let mut good = true;
    let all = options.only.is_empty();
    for layer in
        layers.iter().filter(|layer| all || options.only.iter().any(|name| layer.is_called(name)))
    {
        good &= layers::run(root, layer, &options)?;
        if layer.name == "memleak" {
            leak::run(root)?;
        }
    }
    if all || options.only.iter().any(|name| name == "run") {
        good &= watch::run(root, &options)?;
    }
    if all || options.only.iter().any(|name| name == "watch") {
        good &= system::run(root, &options)?;
    }
    if all || options.only.iter().any(|name| name == "tool") {
        good &= tool::run(root, &options)?;
    }
    Ok(good || !options.gate)
}

fn options(args: &[String]) -> anyhow::Result<Options> {
    let mut options = Options { gate: false, rounds: 3, seconds: None, only: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || -> anyhow::Result<u64> {
            let value = args.next().with_context(|| format!("`{arg}` needs a number"))?;
            let number: u64 =
                value.parse().with_context(|| format!("`{value}` is not a number"))?;
            if number == 0 {
                bail!("`{arg}` must be at least 1");
            }
            Ok(number)
        };
        match arg.as_str() {
            "--gate" => options.gate = true,
            "--rounds" => options.rounds = usize::try_from(number()?)?,
            "--seconds" => options.seconds = Some(number()?),
            name if !name.starts_with('-') => options.only.push(name.to_owned()),
            other => bail!("unknown option `{other}`"),
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Options> {
        options(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_in_any_order() {
        let options = parse("run --seconds 5 --gate memleak").unwrap();
        assert_eq!((options.seconds, options.gate, options.rounds), (Some(5), true, 3));
        assert_eq!(options.only, ["run", "memleak"]);
    }

    #[test]
    fn a_bad_option_is_refused() {
        assert!(parse("--seconds").is_err());
        assert!(parse("--rounds 0").is_err());
        assert!(parse("--fast").is_err());
    }
}
