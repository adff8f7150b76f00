//! The document of the memory layers: one [`Config`], its sections, and its history since version 1.

pub mod config;
mod forms;
mod init;
mod live;
mod migrations;
mod places;
mod project;
mod rules;
mod v1;
mod v2;
mod v3;

use std::sync::{Arc, LazyLock};

use crate::diagnostic::Diagnostic;
use crate::files::Sources;
use crate::history::{History, Mark, Release};
use crate::load::{Loaded, assemble};
use crate::spec::{Preset, Spec};

pub use config::{AlertsConfig, Config, ServeConfig};
pub use init::{init, init_text, suggested_budget};
pub use live::Live;
pub use places::Places;
pub use project::{Effective, PROJECT_FILE};

/// What the environment variables of the document begin with, without the underscore.
pub const ENV_PREFIX: &str = "MEMCLI";

/// The version of the document that this program writes.
pub const VERSION: u32 = 3;

/// The document: versions, rules, built-in overlays. Made once.
#[must_use]
pub fn spec() -> Arc<Spec<Config>> {
    static SPEC: LazyLock<Arc<Spec<Config>>> = LazyLock::new(|| Arc::new(make_spec()));
    Arc::clone(&SPEC)
}

/// The versions of the document.
#[must_use]
pub fn history() -> History {
    let v1 = Release {
        number: 1,
        key: "version",
        mark: Mark::Text("1.0"),
        schema: v1::schema(),
        ops: migrations::v1_to_v2(),
    };
    let v2 = Release {
        number: 2,
        key: "version",
        mark: Mark::Text("2.0"),
        schema: v2::schema(),
        ops: migrations::v2_to_v3(),
    };
    let v3 = Release {
        number: VERSION,
        key: "schema_version",
        mark: Mark::Number(i64::from(VERSION)),
        schema: v3::schema(),
        ops: Vec::new(),
    };
    History::new(v3).after([v1, v2])
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
