//! JSON Schemas of the documents, made from the types that write them. Compiled for tests alone: what is shipped are the files in
//! `docs/reference/schemas`.

use schemars::JsonSchema;

/// [`mempressure::Level`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum Level {
    Unknown,
    Normal,
    Warning,
    Critical,
    Emergency,
}

/// [`memleak::Severity`].
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum Severity {
    Info,
    Warning,
    Critical,
}
