//! The first draft of a new version: what has changed since the last released schema, as operations and a test.
//!
//! `cargo xtask schema new-version` runs this. It reads `schemas/ledger.toml` for the newest frozen version and compares
//! its keys with the present ones; what it prints is to be read, corrected, and put into `src/document`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a generator prints")]

use std::path::Path;
use std::process::ExitCode;

use memcfg::document;
use memcfg::ledger::{draft, fingerprint, schema_from_json};

fn main() -> ExitCode {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let frozen = schemas.join(format!("v{}.json", document::VERSION));
    let Ok(text) = std::fs::read_to_string(&frozen) else {
        eprintln!(
            "{} is missing: UPDATE=1 cargo test -p memcfg --test generated",
            frozen.display()
        );
        return ExitCode::from(66);
    };
    let present = document::json_schemas().into_iter().last();
    if present.is_some_and(|(_, schema)| fingerprint(&schema) == fingerprint(&text)) {
        println!("version {} is as it was frozen: nothing to do", document::VERSION);
        return ExitCode::SUCCESS;
    }
    let Some(old) = schema_from_json(&text) else {
        eprintln!("{} is no schema of ours", frozen.display());
        return ExitCode::from(65);
    };
    let (from, to) = (document::VERSION, document::VERSION + 1);
    println!(
        "// 1. Restore the keys of version {from} in src/document/v{from}.rs from git; put the present ones into v{to}.rs."
    );
    println!("// 2. In src/document/mod.rs: VERSION = {to}, a Release for each of the two.");
    println!(
        "// 3. Mark v{from} as released in schemas/ledger.toml; UPDATE=1 cargo test -p memcfg --test generated."
    );
    println!("// 4. In src/document/migrations.rs, after reading every line:");
    println!("pub(super) fn v{from}_to_v{to}() -> Vec<Op> {{\n    vec![");
    for op in draft(&old, document::spec().schema()) {
        println!("        {op}");
    }
    println!("    ]\n}}\n\n// 5. In tests/migrate.rs:");
    println!("#[test]\nfn version_{from}_becomes_version_{to}() {{");
    println!(
        "    let old = \"schema_version = {from}\\n\"; // a file with every key that changed, and comments"
    );
    println!("    assert_eq!(migrated(old), \"schema_version = {to}\\n\");\n}}");
    ExitCode::SUCCESS
}
