//! The keys that somebody may have meant by one that there is not.

use memcfg::document;
use memcfg::path::KeyPath;

/// More than these are no help.
const MOST: usize = 4;

/// Where the names of keys are found.
pub(super) const SHOWN: &str = "`memcli config show` lists the keys that have a value";

/// What to try instead of a key that no configuration can hold.
pub(super) fn meant(typed: &str) -> String {
    let spec = document::spec();
    let schema = spec.schema();
    if let Some(meant) = schema.suggest(&KeyPath::parse(typed)) {
        return format!("did you mean `{meant}`?");
    }
    // The end of a path, or another separator than the point.
    let wanted = letters(typed);
    let keys = schema.keys().iter().map(|key| key.path.to_string());
    let like: Vec<String> = keys
        .filter(|key| !wanted.is_empty() && letters(key).ends_with(&wanted))
        .map(|key| format!("`{key}`"))
        .collect();
    match like.as_slice() {
        [one] => format!("did you mean {one}?"),
        [one, other] => format!("did you mean {one} or {other}?"),
        several if (1..=MOST).contains(&several.len()) => {
            format!("did you mean one of {}?", several.join(", "))
        }
        _ => SHOWN.to_owned(),
    }
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_leads_to_the_key() {
        for (typed, key) in [
            ("presure.hold", "pressure.hold"),
            ("thresholds.warning", "pressure.thresholds.warning"),
            ("budget-total", "budget.total"),
            ("leak_window", "leak.window"),
        ] {
            assert_eq!(meant(typed), format!("did you mean `{key}`?"));
        }
        let several = meant("warning");
        assert!(
            several.contains("budget.warning") && several.contains("pressure.thresholds.warning"),
            "{several}"
        );
        assert!(meant("nonsense").contains("config show") && meant("-").contains("config show"));
    }
}
