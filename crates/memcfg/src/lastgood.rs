//! A copy of the last good inputs, for a restart while a file is bad.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{Sources, read_trusted};
use crate::load::{Inputs, Text};
use crate::origin::SourceKind;

const FILE: &str = "last-good.json";

#[derive(Serialize, Deserialize)]
struct Kept {
    /// Of this file's own layout.
    version: u32,
    texts: Vec<KeptText>,
}

#[derive(Serialize, Deserialize)]
struct KeptText {
    path: PathBuf,
    content: String,
}

/// Keeps the inputs. Best effort: a full disk must not stop a good document from being used.
pub(crate) fn keep(state_dir: Option<&Path>, inputs: &Inputs) {
    let Some(directory) = state_dir else { return };
    let texts = inputs
        .texts
        .iter()
        .map(|text| KeptText {
            path: text.path.clone(),
            content: String::from_utf8_lossy(&text.bytes).into_owned(),
        })
        .collect();
    if let Ok(json) = serde_json::to_vec(&Kept { version: 1, texts }) {
        let _ = crate::save::replace(&directory.join(FILE), &json);
    }
}

/// The kept texts of the files that `sources` names.
pub(crate) fn recall(state_dir: Option<&Path>, sources: &Sources) -> Option<Vec<Text>> {
    let bytes = read_trusted(&state_dir?.join(FILE), SourceKind::Global).ok()?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    if kept.version != 1 {
        return None;
    }
    let found = sources.files.iter().filter_map(|file| {
        let text = kept.texts.iter().find(|text| text.path == file.path)?;
        Some(Text::new(file.kind, &file.path, text.content.as_bytes()))
    });
    Some(found.collect())
}
