//! The document of the memory layers: one [`Config`], its sections, and its history since version 1.

pub mod config;
mod forms;
#[cfg(feature = "yaml")]
mod import;
mod init;
mod live;
mod migrations;
mod places;
mod project;
mod rules;
mod v1;
mod v2;
mod v3;
mod versions;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use crate::diagnostic::{Code, Diagnostic, Label};
use crate::files::Sources;
use crate::load::{Inputs, Loaded, Text, assemble};
use crate::origin::{Origin, Source, SourceKind};
use crate::parse::parse;
use crate::rewrite::{Rewritten, migrate_text};
use crate::save::Editor;
use crate::spec::{Preset, Spec};
use crate::value::{self, Table};

pub use config::{AlertsConfig, Config, ServeConfig};
#[cfg(feature = "yaml")]
pub use import::import_yaml;
pub use init::{init, init_text, suggested_budget};
pub use live::Live;
pub use places::Places;
pub use project::{Effective, PROJECT_FILE};
pub use versions::{VERSION, history};

/// What the environment variables of the document begin with, without the underscore.
pub const ENV_PREFIX: &str = "MEMCLI";

/// The document: versions, rules, built-in overlays. Made once.
#[must_use]
pub fn spec() -> Arc<Spec<Config>> {
    static SPEC: LazyLock<Arc<Spec<Config>>> = LazyLock::new(|| Arc::new(make_spec()));
    Arc::clone(&SPEC)
}

fn make_spec() -> Spec<Config> {
    let mut spec =
        Spec::new(history()).env_prefix(ENV_PREFIX).rules(rules::rules()).presets([development()]);
    // Read by memcli itself: which file to use.
    spec.env_ignored = vec![format!("{ENV_PREFIX}_CONFIG")];
    spec
}

/// What the tier `development` sets beside reading more: leaks show sooner, with more noise.
fn development() -> Preset {
    let leak = toml::Table::from_iter([
        ("baseline_window".to_owned(), toml::Value::from("1m")),
        ("warning_rate".to_owned(), toml::Value::from("10MiB/h")),
    ]);
    let overlay = toml::Table::from_iter([("leak".to_owned(), toml::Value::Table(leak))]);
    Preset { key: "track.tier".into(), value: "development", overlay }
}

/// Loads the document once.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(sources: &Sources) -> Result<Loaded<Config>, Vec<Diagnostic>> {
    let (inputs, warnings) = sources.read()?;
    let mut loaded = assemble(&spec(), &inputs)?;
    loaded.warnings.extend(warnings);
    Ok(loaded)
}

/// An editor of one file of the document: what is valid in its own version may become a backup.
#[must_use]
pub fn editor(path: impl Into<PathBuf>) -> Editor<'static> {
    Editor::new(path, |bytes| {
        let texts = vec![Text::new(SourceKind::Global, "", bytes)];
        assemble(&spec(), &Inputs { texts, ..Inputs::default() }).is_ok()
    })
}

/// Carries the text of one file to the newest version, with its comments.
///
/// # Errors
/// When it is no valid document of its own version.
pub fn migrate(name: &str, text: &str) -> Result<Rewritten, Vec<Diagnostic>> {
    migrate_text(&history(), &Arc::new(Source::new(SourceKind::Global, name, text)))
}

/// The text of one file with `key` set to `value`; an empty text becomes a document of the newest version.
///
/// # Errors
/// An unknown key, a value that is not allowed, a file that is not valid with it, or one of an older version, which has
/// to be migrated first.
pub fn set(name: &str, text: &str, key: &str, value: &str) -> Result<String, Vec<Diagnostic>> {
    let head = format!("schema_version = {VERSION}\n");
    let text = if text.trim().is_empty() { &head } else { text };
    refuse_older(name, text)?;
    edited(name, crate::edit::set(spec().schema(), text, key, value)?)
}

/// The text of one file without `key`.
///
/// # Errors
/// As [`set`].
pub fn unset(name: &str, text: &str, key: &str) -> Result<String, Vec<Diagnostic>> {
    refuse_older(name, text)?;
    edited(name, crate::edit::unset(text, key)?)
}

/// A key of the newest version means nothing in a file of an older one.
fn refuse_older(name: &str, text: &str) -> Result<(), Vec<Diagnostic>> {
    let source = Arc::new(Source::new(SourceKind::Global, name, text));
    let version = history().identify(&mut parse(&source)?, None, &source).map(|r| r.number);
    let version = version.map_err(|problem| vec![problem])?;
    if version == VERSION {
        return Ok(());
    }
    let message =
        format!("this file is of version {version}, and keys are set in version {VERSION}");
    let label = Label::key(&Origin::whole(&source), "");
    let problem = Diagnostic::error(Code::Version, message).at(label);
    Err(vec![problem.help("migrate the file first")])
}

fn edited(name: &str, new: String) -> Result<String, Vec<Diagnostic>> {
    let texts = vec![Text::new(SourceKind::Global, name, &new)];
    assemble(&spec(), &Inputs { texts, ..Inputs::default() })?;
    Ok(new)
}

/// The defaults of the newest version.
#[must_use]
pub fn defaults() -> Table {
    let source = Arc::new(Source::new(SourceKind::Default, "defaults", ""));
    value::table_from_toml(toml::Table::try_from(Config::default()).unwrap_or_default(), &source)
}

/// The JSON Schema of each version, the oldest first, for editors and for the ledger.
#[must_use]
pub fn json_schemas() -> Vec<(u32, String)> {
    let defaults = defaults();
    let history = history();
    let schemas = history.releases().map(|release| {
        let known = (release.number == VERSION).then_some(&defaults);
        (release.number, crate::ledger::json_schema("memcli settings", release, known))
    });
    schemas.collect()
}

/// The reference of the newest version, as Markdown.
#[must_use]
pub fn reference() -> String {
    let body = crate::reference::markdown(spec().schema(), &defaults(), Some(ENV_PREFIX));
    format!(
        "# Settings\n\n\
         <!-- Generated by the tests of memcfg: UPDATE=1 cargo test -p memcfg --test generated -->\n\n\
         A file begins with `schema_version = {VERSION}`. Later sources win: the defaults, what the tier sets, \
         `/etc/memcli/config.toml`, `$XDG_CONFIG_HOME/memcli/config.toml`, the project's `.memcli/config.toml`, \
         environment variables, flags. Ranges are inclusive. Sizes are written `512MiB`, durations `30s`, rates \
         `50MiB/h`.\n{body}"
    )
}
