//! The versions of the document, the oldest first. `cargo xtask schema new-version` adds the next one here.

use super::{migrations, v1, v2, v3};
use crate::history::{History, Mark, Release};

/// The version of the document that this program writes.
pub const VERSION: u32 = 3;

/// The versions of the document.
#[must_use]
pub fn history() -> History {
    let older = [
        Release {
            number: 1,
            key: "version",
            mark: Mark::Text("1.0"),
            schema: v1::schema(),
            ops: migrations::v1_to_v2(),
        },
        Release {
            number: 2,
            key: "version",
            mark: Mark::Text("2.0"),
            schema: v2::schema(),
            ops: migrations::v2_to_v3(),
        },
    ];
    let newest = Release {
        number: VERSION,
        key: "schema_version",
        mark: Mark::Number(i64::from(VERSION)),
        schema: v3::schema(),
        ops: Vec::new(),
    };
    History::new(newest).after(older)
}
