//! How an edited configuration is announced.

use serde_json::{Value, json};

use crate::live::Reload;

/// One line.
#[must_use]
pub fn line(reload: &Reload) -> String {
    reload.lines.join("; ")
}

/// The body of its JSON row.
#[must_use]
pub fn body(reload: &Reload) -> Value {
    json!({ "lines": reload.lines })
}
