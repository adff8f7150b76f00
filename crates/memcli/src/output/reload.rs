//! How an edited configuration is announced.

use memcfg::diff::Change;
use memcfg::live::Reload;
use serde_json::Value;

/// How many changed keys one line names.
const NAMED: usize = 3;

/// One line: what changed, or why it was refused and what stays.
#[must_use]
pub fn line(reload: &Reload) -> String {
    match reload {
        Reload::Accepted { generation, changes, .. } => {
            let named: Vec<_> = changes.iter().take(NAMED).map(change).collect();
            let more = match changes.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more} (generation {generation})", named.join(", "))
        }
        Reload::Rejected { generation, diagnostics, .. } => {
            let why = diagnostics.first().map_or(String::new(), |first| {
                let place = first
                    .labels
                    .first()
                    .map_or(String::new(), |label| format!("{}: ", label.place()));
                let help = first.help.as_ref().map_or(String::new(), |help| format!("; {help}"));
                format!(": {place}{}{help}", first.message)
            });
            let more = match diagnostics.len().saturating_sub(1) {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            format!("edit refused, generation {generation} stays{why}{more}")
        }
        _ => "reloaded".into(),
    }
}

fn change(change: &Change) -> String {
    let shown = |value: &Option<memcfg::value::Value>| {
        value.as_ref().map_or("unset".into(), ToString::to_string)
    };
    format!("{} {} -> {}", change.key, shown(&change.old), shown(&change.new))
}

/// The body of its JSON row.
#[must_use]
pub fn body(reload: &Reload) -> Value {
    serde_json::to_value(reload).unwrap_or_default()
}
