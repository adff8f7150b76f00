//! What holds for every document, on a thousand random ones each.

#![expect(clippy::panic, reason = "helpers of tests assert by unwrapping")]

use std::sync::Arc;

use memcfg::document::{self, Config, history, spec};
use memcfg::load::{Inputs, Loaded, Text, assemble};
use memcfg::merge::merge;
use memcfg::origin::{Source, SourceKind};
use memcfg::path::KeyPath;
use memcfg::rewrite::migrate_text;
use memcfg::testing::document::{V1, V2, V3, v1, v2, v3};
use memcfg::testing::{style, table, write};
use memcfg::value::{self, Table};
use memcfg::{Code, Diagnostic};
use proptest::prelude::*;
use proptest::sample::select;

fn load(texts: &[String]) -> Result<Loaded<Config>, Vec<Diagnostic>> {
    let texts = texts
        .iter()
        .enumerate()
        .map(|(at, text)| Text::new(SourceKind::Global, format!("{at}.toml"), text))
        .collect();
    assemble(&spec(), &Inputs { texts, ..Inputs::default() })
}

fn migrate(text: &str) -> String {
    let source = Arc::new(Source::new(SourceKind::Global, "m.toml", text));
    migrate_text(&history(), &source).unwrap_or_else(|why| panic!("{why:#?}\n{text}")).text
}

fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('#').map(|(_, comment)| comment.trim().to_owned()))
        .collect();
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_is_associative_and_nothing_is_its_identity(a in table(), b in table(), c in table()) {
        let left = merge(merge(a.clone(), &b), &c);
        let right = merge(a.clone(), &merge(b, &c));
        prop_assert_eq!(value::leaves(&left), value::leaves(&right));
        prop_assert_eq!(&merge(a.clone(), &Table::new()), &a);
        prop_assert_eq!(&merge(Table::new(), &a), &a);
        prop_assert_eq!(&merge(a.clone(), &a), &a);
    }

    #[test]
    fn explaining_agrees_with_merging_by_hand(stack in proptest::collection::vec((v3(), style()), 1..5)) {
        let texts: Vec<_> = stack.iter().map(|(settings, style)| write(V3, settings, style)).collect();
        let loaded = load(&texts).unwrap_or_else(|why| panic!("{why:#?}"));
        let defaults = document::defaults();
        for key in loaded.keys() {
            let path = KeyPath::parse(&key);
            // By hand: the files that set it, the highest first, then what the tier and the defaults say.
            let setters: Vec<String> = stack.iter().enumerate().rev()
                .filter(|(_, (settings, _))| settings.iter().any(|(name, _)| *name == key))
                .map(|(at, _)| format!("{at}.toml")).collect();
            let found = loaded.explain(&key).unwrap();
            let all: Vec<_> = std::iter::once(&found.effective).chain(&found.shadowed).collect();
            let files: Vec<_> = all.iter().filter(|s| s.origin.source.is_file())
                .map(|s| s.origin.source.name.clone()).collect();
            prop_assert_eq!(&files, &setters, "{}", key);
            let effective = &value::get(&loaded.merged, &path).unwrap().value;
            prop_assert_eq!(&found.effective.value, effective);
            let last = all.last().unwrap();
            prop_assert_eq!(value::get(&defaults, &path).is_some(), last.origin.source.kind == SourceKind::Default);
            // The place that is named is where the value stands.
            if let (true, Some(span)) = (found.effective.origin.source.is_file(), &found.effective.origin.value) {
                let text = &found.effective.origin.source.text[span.clone()];
                let expected = stack.iter().rev().flat_map(|(settings, _)| settings)
                    .find(|(name, _)| *name == key).unwrap().1.clone();
                prop_assert_eq!(text.replace('\r', ""), expected);
            }
        }
    }

    #[test]
    fn a_migrated_text_is_valid_keeps_values_and_comments_and_migrates_no_further(
        (version, settings) in prop_oneof![v1().prop_map(|s| (V1, s)), v2().prop_map(|s| (V2, s))],
        style in style(),
    ) {
        let old = write(version, &settings, &style);
        let new = migrate(&old);
        let before = load(std::slice::from_ref(&old)).unwrap_or_else(|why| panic!("{why:#?}\n{old}"));
        let after = load(std::slice::from_ref(&new)).unwrap_or_else(|why| panic!("{why:#?}\n{new}"));
        prop_assert_eq!(&before.value, &after.value);
        prop_assert_eq!(value::leaves(&before.merged), value::leaves(&after.merged));
        prop_assert_eq!(comments(&old), comments(&new), "{}\n---\n{}", old, new);
        prop_assert_eq!(&migrate(&new), &new);
        prop_assert_eq!(new.starts_with('\u{feff}'), old.starts_with('\u{feff}'));
        prop_assert_eq!(new.ends_with('\n'), old.ends_with('\n'));
        let lone = |text: &str| text.replace("\r\n", "").contains('\n');
        prop_assert!(!style.crlf || !lone(&new), "CRLF became LF:\n{:?}", new);
    }

    #[test]
    fn migrating_and_then_merging_is_merging_and_then_migrating(
        a in v2(), b in v2(), c in v1(), d in v1(), style in style(),
    ) {
        for (version, below, above) in [(V2, a, b), (V1, c, d)] {
            let apart = load(&[write(version, &below, &style), write(version, &above, &style)]);
            let mut merged = below.clone();
            merged.retain(|(key, _)| above.iter().all(|(other, _)| other != key));
            merged.extend(above);
            let together = load(&[write(version, &merged, &style)]);
            let values = |loaded: &Loaded<Config>| {
                value::leaves(&loaded.merged).into_iter()
                    .map(|(path, node)| (path.to_string(), node.value.to_string())).collect::<Vec<_>>()
            };
            match (apart, together) {
                (Ok(apart), Ok(together)) => prop_assert_eq!(values(&apart), values(&together)),
                (apart, together) => panic!("{apart:?} {together:?}"),
            }
        }
    }

    #[test]
    fn any_bytes_load_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let texts = vec![Text::new(SourceKind::Global, "x.toml", &bytes)];
        let _ = assemble::<Config>(&spec(), &Inputs { texts, ..Inputs::default() });
    }

    #[test]
    fn any_text_that_looks_like_a_document_loads_or_is_refused(
        parts in proptest::collection::vec(select(vec![
            "schema_version = 3", "version = \"1.0\"", "\n", "\r\n", "[budget]", "[[budget]]", "total", "=", "\"3GiB\"", "3", "0.9",
            "warning", ".", "{", "}", "[", "]", ",", "#", " ", "\"", "'''", "memory_settings", "\u{feff}", "nan", "components", "é",
        ]), 0..60),
        head in select(vec!["", "schema_version = 3\n", "version = \"2.0\"\n"]),
    ) {
        let text = format!("{head}{}", parts.concat());
        if let Err(found) = load(std::slice::from_ref(&text)) {
            prop_assert!(found.iter().any(Diagnostic::is_error));
            prop_assert!(found.iter().all(|d| d.code != Code::Invalid || !d.labels.is_empty()), "{:?}", found);
            for diagnostic in &found {
                let _ = diagnostic.to_string();
            }
        }
        let source = Arc::new(Source::new(SourceKind::Global, "m.toml", text.as_str()));
        let _ = migrate_text(&history(), &source);
        let _ = memcfg::edit::set(spec().schema(), &text, "budget.warning", "0.6");
        let _ = memcfg::edit::unset(&text, "budget.total");
    }

    #[test]
    fn setting_a_key_changes_that_key_alone(settings in v3(), style in style(), warning in 50i64..79) {
        let text = write(V3, &settings, &style);
        let wanted = format!("0.{warning}");
        let new = memcfg::edit::set(spec().schema(), &text, "budget.warning", &wanted)
            .unwrap_or_else(|why| panic!("{why:?}\n{text}"));
        let (before, after) = (load(std::slice::from_ref(&text)).unwrap(), load(std::slice::from_ref(&new)).unwrap());
        let changes = memcfg::diff::diff(&before, &after);
        prop_assert!(changes.len() <= 1 && changes.iter().all(|change| change.key == "budget.warning"));
        prop_assert_eq!(after.value.budget.warning.to_string(), wanted.parse::<f64>().unwrap().to_string());
        let unset = memcfg::edit::unset(&new, "budget.warning").unwrap();
        prop_assert_eq!(load(&[unset]).unwrap().value.budget.warning, 0.8);
    }
}

/// Left half-written at any byte, a file is refused or says a part of what it says whole; nothing else.
#[test]
fn every_prefix_of_a_document_is_refused_or_a_part_of_it() {
    let text = document::init_text(8 << 30).replace("\n# ", "\n");
    let text: String = text.lines().filter(|l| l.contains(" = ") || l.starts_with('[')).fold(
        String::new(),
        |out, line| {
            if line.ends_with("= ") { out } else { out + line + "\n" }
        },
    );
    let whole = load(std::slice::from_ref(&text)).unwrap_or_else(|why| panic!("{why:#?}\n{text}"));
    let (mut refused, mut warned, mut parts) = (0, 0, 0);
    for end in 0..text.len() {
        match load(&[text[..end].to_owned()]) {
            Err(_) => refused += 1,
            // Without its last line feed a live document does not take it, and a first load warns.
            Ok(loaded) if !text[..end].ends_with('\n') => {
                assert!(
                    loaded.warnings.iter().any(|w| w.code == Code::Unfinished),
                    "at byte {end}"
                );
                warned += 1;
            }
            Ok(loaded) => {
                for (path, node) in value::leaves(&loaded.merged) {
                    if node.origin.source.is_file() {
                        assert_eq!(
                            value::get(&whole.merged, &path).unwrap(),
                            node,
                            "{path} at {end}"
                        );
                    }
                }
                parts += 1;
            }
        }
    }
    println!("{} prefixes: {refused} refused, {warned} warned of, {parts} whole lines", text.len());
    assert!(refused > 0 && warned > 0 && parts > 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn configurations_for_other_suites_are_valid(config in memcfg::testing::document::config()) {
        prop_assert!(garde::Validate::validate(&config).is_ok(), "{:?}", config);
    }
}
