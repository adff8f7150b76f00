//! A program with a document of its own, and the memory layers' document nested in it.
//!
//! ```text
//! cargo run -p memcfg --example embed -- /path/to/shop.toml
//! ```
//!
//! ```toml
//! schema_version = 1
//! [server]
//! port = 8080
//! [memory]
//! schema_version = 3
//! [memory.budget]
//! total = "1GiB"
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use memcfg::document::{self, Config};
use memcfg::files::Sources;
use memcfg::history::{History, Mark, Release};
use memcfg::live::{Live, LiveOptions, Reload};
use memcfg::schema::{Key, Kind, Schema};
use memcfg::spec::{Rule, Spec, Violation};

/// The program's own document.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Shop {
    #[garde(dive)]
    server: Arc<Server>,
    /// The memory layers' document, as it is.
    #[garde(dive)]
    memory: Config,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Server {
    #[garde(range(min = 1))]
    port: u16,
    #[garde(range(min = 1, max = 1024))]
    connections: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self { port: 8080, connections: 64 }
    }
}

fn spec() -> Arc<Spec<Shop>> {
    static SPEC: LazyLock<Arc<Spec<Shop>>> = LazyLock::new(|| {
        let schema = Schema::new().table("server", "Who may connect.").with([
            Key::new("server.port", Kind::Integer { min: 1, max: 65_535 }, "The TCP port.")
                .restart(),
            Key::new("server.connections", Kind::Integer { min: 1, max: 1024 }, "At once."),
        ]);
        let release = Release {
            number: 1,
            key: "schema_version",
            mark: Mark::Number(1),
            schema,
            ops: Vec::new(),
        };
        let workers = Rule::new(|shop: &Shop| {
            let (workers, connections) =
                (shop.memory.workload.parallel_workers, shop.server.connections);
            if connections >= workers {
                return Vec::new();
            }
            let keys = ["server.connections", "memory.workload.parallel_workers"];
            vec![Violation::error(
                format!("{connections} connections leave {workers} workers idle"),
                &keys,
            )]
        });
        let spec = Spec::new(History::new(release)).env_prefix("SHOP").rules([workers]).nest(
            "memory",
            &document::spec(),
            |shop| &shop.memory,
        );
        Arc::new(spec)
    });
    Arc::clone(&SPEC)
}

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: embed FILE");
        return ExitCode::from(64);
    };
    let sources = Sources::new().required_file(path).env(std::env::vars());
    let live = match Live::start(spec(), sources, LiveOptions::default()) {
        Ok(live) => live,
        Err(problems) => {
            for problem in problems {
                eprintln!("{problem}");
            }
            return ExitCode::from(78);
        }
    };
    // A worker takes the part it needs, and hears of every change of it.
    let server = live.subscribe("server", |shop| &shop.server);
    let (generation, now) = server.load();
    println!(
        "generation {generation}: port {}, budget {}",
        now.port,
        live.load().loaded.value.memory.budget.total
    );
    for reload in live.reloads() {
        match reload {
            Reload::Accepted { generation, changes, .. } => {
                for change in changes {
                    println!("generation {generation}: {} by {}", change.key, change.origin);
                }
            }
            Reload::Rejected { diagnostics, .. } => {
                for problem in diagnostics {
                    eprintln!("{problem}");
                }
            }
            _ => {}
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;
    use memcfg::load::{Inputs, Text, assemble};
    use memcfg::origin::SourceKind;

    fn load(text: &str, env: &[(&str, &str)]) -> Result<memcfg::load::Loaded<Shop>, Vec<String>> {
        let inputs = Inputs {
            texts: vec![Text::new(SourceKind::Global, "shop.toml", text)],
            env: env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            ..Inputs::default()
        };
        assemble(&spec(), &inputs).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    const HEAD: &str = "schema_version = 1\n[memory]\nschema_version = 3\n";

    #[test]
    fn both_documents_are_read_and_explained() {
        let text = format!("{HEAD}[memory.budget]\ntotal = \"1GiB\"\n[server]\nport = 80\n");
        let env = [("SHOP_MEMORY__BUDGET__WARNING", "0.7"), ("SHOP_SERVER__PORT", "81")];
        let loaded = load(&text, &env).unwrap();
        assert_eq!(loaded.value.server.port, 81);
        assert_eq!(loaded.value.memory.budget.total.to_string(), "1GiB");
        assert_eq!(loaded.value.memory.budget.warning, 0.7);
        let origin = loaded.explain("memory.budget.total").unwrap().effective.origin;
        assert_eq!(origin.to_string(), "shop.toml:5:9");
    }

    #[test]
    fn the_inner_rules_hold_and_name_the_outer_keys() {
        let text = format!("{HEAD}[memory.budget]\nwarning = 0.95\n");
        let found = load(&text, &[]).unwrap_err();
        assert!(found[0].contains("memory.budget.prompt` is 0.93"), "{}", found[0]);
    }

    #[test]
    fn the_outer_rules_see_the_inner_values() {
        let text = format!("{HEAD}[server]\nconnections = 2\n");
        let found = load(&text, &[]).unwrap_err();
        assert!(found[0].starts_with("shop.toml:5:15: error[conflict]"), "{}", found[0]);
    }

    #[test]
    fn the_inner_document_moves_on_by_itself() {
        let text = "schema_version = 1\n[memory]\nversion = \"1.0\"\nmax_workers = 7\n[memory.memory_settings]\ntotal_mb = 2048\n";
        let loaded = load(text, &[]).unwrap();
        assert_eq!(loaded.value.memory.workload.parallel_workers, 7);
        assert_eq!(loaded.value.memory.budget.total.to_string(), "2GiB");
        let found = load("schema_version = 1\n[memory]\nschema_version = 9\n", &[]).unwrap_err();
        assert!(found[0].contains("version 9"), "{}", found[0]);
    }

    #[test]
    fn the_tier_works_where_it_is_nested() {
        let text = format!("{HEAD}[memory.track]\ntier = \"development\"\n");
        let loaded = load(&text, &[]).unwrap();
        assert_eq!(loaded.value.memory.leak.baseline_window.as_secs(), 60);
    }

    #[test]
    fn a_key_that_needs_a_restart_says_so() {
        let (old, new) =
            (load(HEAD, &[]).unwrap(), load(&format!("{HEAD}[server]\nport = 1\n"), &[]).unwrap());
        let changes = memcfg::diff::diff(&old, &new);
        assert_eq!(changes[0].effect, memcfg::schema::Effect::Restart);
    }
}
