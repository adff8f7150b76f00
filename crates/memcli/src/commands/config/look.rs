//! The verbs that only look: check, show, explain, path, schema.

use std::io::Write;
use std::path::Path;

use memcfg::Diagnostic;
use memcfg::document::{self, Config};
use memcfg::load::Loaded;
use memcfg::origin::SourceKind;
use memcfg::path::KeyPath;
use memcfg::schema::{Key, Lookup};
use serde_json::json;

use super::{keys, say, say_row, sources, version_line};
use crate::cli::{CheckArgs, ExplainArgs, ShowArgs};
use crate::exit::{self, Failure};
use crate::live::{code_of, refused};
use crate::output::{diagnostic, screen};

fn load(explicit: Option<&Path>) -> Result<Result<Loaded<Config>, Vec<Diagnostic>>, Failure> {
    Ok(document::load(&sources(explicit)?))
}

/// Says whether the configuration is valid, with every problem where it stands.
pub(super) fn check(args: &CheckArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let explicit = args.file.as_deref().or(explicit);
    let loaded = load(explicit)?;
    if args.json {
        let (valid, problems) = match &loaded {
            Ok(loaded) => (true, &loaded.warnings),
            Err(problems) => (false, problems),
        };
        let document =
            json!({ "schema": "memcli.config-check/1", "valid": valid, "diagnostics": problems });
        say(format_args!("{document}"))?;
        return Ok(if valid { exit::OK } else { code_of(problems) });
    }
    let loaded = loaded.map_err(|problems| refused(&problems))?;
    for warning in &loaded.warnings {
        let _ = writeln!(screen::stderr(), "{}", diagnostic::render(warning));
    }
    // A file that is left out is none of those that are good.
    let (inputs, _) = sources(explicit)?.read().map_err(|problems| refused(&problems))?;
    let read = inputs.texts.iter().map(|file| {
        let name = file.path.display().to_string();
        let text = String::from_utf8_lossy(&file.bytes);
        let carried = document::migrate(&name, &text).ok().filter(|found| found.from != found.to);
        (name, carried.map(|found| (found.from, found.to)))
    });
    let read: Vec<_> = read.collect();
    let names: Vec<&str> = read.iter().map(|(name, _)| name.as_str()).collect();
    match names.as_slice() {
        [] => say(format_args!("ok: no configuration file; the defaults hold"))?,
        names => say(format_args!("ok: {}", names.join(", ")))?,
    }
    for (name, carried) in &read {
        if let Some((from, to)) = carried {
            say(format_args!(
                "{name}: read as version {to}, though of version {from}; \
                 `memcli config migrate --write` rewrites it"
            ))?;
        }
    }
    Ok(exit::OK)
}

/// Prints what is in force, as a document that can be loaded again.
pub(super) fn show(args: &ShowArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let loaded = load(explicit)?.map_err(|problems| refused(&problems))?;
    say(format_args!("{}", version_line()))?;
    for key in loaded.keys() {
        let Some(found) = loaded.explain(&key) else { continue };
        let value = &found.effective.value;
        if args.origin {
            say(format_args!("{:<48} # {}", format!("{key} = {value}"), found.effective.origin))?;
        } else {
            say(format_args!("{key} = {value}"))?;
        }
    }
    Ok(exit::OK)
}

/// Says where one value comes from, and what it hides.
pub(super) fn explain(args: &ExplainArgs, explicit: Option<&Path>) -> Result<u8, Failure> {
    let loaded = load(explicit)?.map_err(|problems| refused(&problems))?;
    let path = KeyPath::parse(&args.key);
    let known = loaded.schema().key(&path);
    let Some(found) = loaded.explain(&args.key) else {
        if let Some(key) = known.filter(|_| !args.json) {
            say(format_args!("{} is not set", args.key))?;
            return describe(key).map(|()| exit::OK);
        }
        let failure = Failure::new(exit::USAGE, format!("nothing sets a key `{}`", args.key));
        return Err(match known {
            Some(_) => failure.help(keys::SHOWN),
            None => failure.help(keys::meant(&args.key)),
        });
    };
    if matches!(loaded.schema().lookup(&path), Lookup::Table) {
        return explain_table(&loaded, &path, args);
    }
    if args.json {
        let document = json!({ "schema": "memcli.config-explain/1", "explanation": found });
        say(format_args!("{document}"))?;
        return Ok(exit::OK);
    }
    say(format_args!("{} = {}", found.key, found.effective.value))?;
    say_row("from", &found.effective.origin.to_string())?;
    for hidden in &found.shadowed {
        say_row("hides", &format!("{} from {}", hidden.value, hidden.origin))?;
    }
    known.map_or(Ok(()), describe)?;
    Ok(exit::OK)
}

/// Says it of each key of a table: sources hide each other's values, and never a table.
fn explain_table(
    loaded: &Loaded<Config>,
    table: &KeyPath,
    args: &ExplainArgs,
) -> Result<u8, Failure> {
    let keys = loaded.keys();
    let keys = keys.iter().filter(|key| KeyPath::parse(key).starts_with(table));
    let found: Vec<_> = keys.filter_map(|key| loaded.explain(key)).collect();
    if args.json {
        let of = found.first().map_or(String::new(), |first| format!(", such as `{}`", first.key));
        let failure = Failure::new(exit::USAGE, format!("`{}` is a table", args.key));
        return Err(failure.help(format!("name a key of it{of}: each has an origin of its own")));
    }
    for value in found {
        let (key, setting) = (&value.key, &value.effective);
        say(format_args!("{:<48} # {}", format!("{key} = {}", setting.value), setting.origin))?;
    }
    Ok(exit::OK)
}

/// Says what a key is for and what it may be.
fn describe(key: &Key) -> Result<(), Failure> {
    say_row("is", &key.about)?;
    say_row("takes", &key.kind.allowed())
}

/// Lists where files are looked for, the weakest first, and which are there.
pub(super) fn path(explicit: Option<&Path>) -> Result<u8, Failure> {
    for file in sources(explicit)?.files {
        let there = if file.path.exists() { "found" } else { "absent" };
        let kind = if file.kind == SourceKind::Project { "project" } else { "global" };
        say(format_args!("{there:<7} {kind:<8} {}", file.path.display()))?;
    }
    Ok(exit::OK)
}

/// Prints the JSON Schema of the present version.
pub(super) fn schema() -> Result<u8, Failure> {
    let (_, schema) = document::json_schemas()
        .into_iter()
        .next_back()
        .ok_or_else(|| Failure::new(exit::SOFTWARE, "the document has no version"))?;
    say(format_args!("{}", schema.trim_end()))?;
    Ok(exit::OK)
}
