//! The engine with a document that has nothing to do with memory.

use memcfg::history::{History, Mark, Op, Release};
use memcfg::load::{Inputs, Loaded, Text, assemble};
use memcfg::origin::{Source, SourceKind};
use memcfg::rewrite::migrate_text;
use memcfg::schema::{Key, Kind, Schema};
use memcfg::secret::Secret;
use memcfg::spec::Spec;
use memcfg::value::Value;
use memcfg::{Code, Diagnostic};

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Mail {
    #[garde(dive)]
    login: Login,
    #[garde(skip)]
    spool: String,
}

#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
#[serde(deny_unknown_fields, default)]
struct Login {
    #[garde(skip)]
    token: Secret,
    #[garde(skip)]
    user: String,
    #[garde(skip)]
    host: String,
}

fn split(value: &Value) -> Result<Vec<Option<Value>>, String> {
    let Value::String(text) = value else { return Err("it is no text".to_owned()) };
    let (user, host) = text.split_once('@').ok_or("it has no `@`")?;
    Ok(vec![Some(Value::String(user.to_owned())), Some(Value::String(host.to_owned()))])
}

fn history() -> History {
    let old = Schema::new().with([
        Key::new("account", Kind::Text, ""),
        Key::new("secrets.token", Kind::Text, "").secret(),
        Key::new("colour", Kind::Text, ""),
        Key::new("spool", Kind::File, ""),
    ]);
    let new = Schema::new().with([
        Key::new("login.token", Kind::Text, "").secret(),
        Key::new("login.user", Kind::Text, ""),
        Key::new("login.host", Kind::Text, ""),
        Key::new("spool", Kind::File, ""),
    ]);
    let ops = vec![
        Op::Custom { from: "account", to: &["login.user", "login.host"], with: split },
        Op::Move { from: "secrets.token", to: "login.token" },
        Op::Move { from: "spool", to: "spool" },
        Op::Drop { from: "colour", reason: "terminals choose" },
    ];
    let v1 = Release { number: 1, key: "v", mark: Mark::Number(1), schema: old, ops };
    let v2 = Release { number: 2, key: "v", mark: Mark::Number(2), schema: new, ops: Vec::new() };
    History::new(v2).after([v1])
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Loaded<Mail>, Vec<Diagnostic>> {
    let inputs = Inputs {
        texts: vec![Text::new(SourceKind::Global, "/etc/mail/mail.toml", text)],
        env: env.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        ..Inputs::default()
    };
    assemble(&Spec::new(history()).env_prefix("MAIL"), &inputs)
}

#[test]
fn the_ledger_of_this_document_is_closed_and_would_show_a_gap() {
    assert_eq!(memcfg::ledger::gaps(&history()), Vec::<String>::new());
    let mut releases: Vec<_> = history().releases().cloned().collect();
    let current = releases.pop().unwrap();
    releases[0].ops.remove(1);
    releases[0].ops.push(Op::Move { from: "account", to: "login.nowhere" });
    let gaps = memcfg::ledger::gaps(&History::new(current).after(releases)).join("\n");
    for gap in [
        "`secrets.token` is read by 0 operations",
        "`account` is read by 2 operations",
        "`login.token` is neither written nor given a default",
        "`login.nowhere` is written and does not exist",
    ] {
        assert!(gaps.contains(gap), "{gap}\n---\n{gaps}");
    }
}

#[test]
fn a_dropped_key_leaves_its_value_and_the_reason_and_a_split_one_its_comments() {
    let text = "v = 1\n# who\naccount = \"me@home\" # really\n# nice\ncolour = \"red\" # or blue\nspool = \"x\"\n[secrets]\ntoken = \"t\"\n";
    let source = std::sync::Arc::new(Source::new(SourceKind::Global, "m.toml", text));
    assert_eq!(
        migrate_text(&history(), &source).unwrap().text,
        "v = 2\n# nice\n# removed in version 2 (terminals choose): colour = \"red\" # or blue\nspool = \"x\"\n\n[login]\n# who\nuser = \"me\" # really\nhost = \"home\"\ntoken = \"t\"\n"
    );
}

#[test]
fn a_value_without_a_counterpart_is_an_error_at_its_place() {
    let found = load("v = 1\naccount = \"nobody\"\n", &[]).unwrap_err();
    assert_eq!(found[0].code, Code::Migration);
    assert!(found[0].to_string().starts_with("/etc/mail/mail.toml:2:11"), "{}", found[0]);
}

#[test]
fn paths_start_at_the_file_that_sets_them() {
    assert_eq!(load("v = 2\nspool = \"sub/../box\"\n", &[]).unwrap().value.spool, "/etc/mail/box");
    assert_eq!(load("v = 2\n", &[("MAIL_SPOOL", "/var/x")]).unwrap().value.spool, "/var/x");
    assert!(load("v = 2\nspool = \"~other/x\"\n", &[]).is_err());
}

#[test]
fn a_secret_is_shown_nowhere() {
    const CANARY: &str = "canary-7f3a";
    let good =
        load(&format!("v = 2\n[login]\ntoken = \"{CANARY}\"\n"), &[("MAIL_LOGIN__TOKEN", CANARY)]);
    let good = good.unwrap();
    assert_eq!(good.value.login.token.expose(), CANARY);
    let other = load("v = 2\n", &[]).unwrap();
    let mut shown = vec![
        format!("{:?}", good.value),
        format!("{:?}", good.explain("login.token")),
        serde_json::to_string(&good.explain("login.token")).unwrap(),
        serde_json::to_string(&memcfg::diff::diff(&other, &good)).unwrap(),
        serde_json::to_string(&good.value).unwrap(),
    ];
    for text in [
        format!("v = 2\n[login]\ntoken = [\"{CANARY}\"]\n"),
        format!("v = 2\n[login]\ntoken = \"{CANARY}\"\nusr = \"x\"\n"),
        format!("v = 1\n[secrets]\ntoken = \"{CANARY}\"\nx = 1\n"),
        format!("v = 1\n[secrets]\ntoken = {{ a = \"{CANARY}\" }}\n"),
        format!("v = 2\n[login]\ntoken = {CANARY}\n"),
        format!("v = 2\n[login]\ntoken = \"{CANARY}\nuser = 1\n"),
    ] {
        let found = load(&text, &[]).unwrap_err();
        shown.push(format!("{found:?}"));
        shown.push(serde_json::to_string(&found).unwrap());
    }
    for shown in shown {
        assert!(!shown.contains(CANARY), "{shown}");
    }
}

/// Stricter than the schema it is read by, as an embedder's types may be.
#[derive(Debug, Default, PartialEq, serde::Serialize, serde::Deserialize, garde::Validate)]
struct Strict {
    #[garde(skip)]
    slots: u8,
    #[garde(length(max = 3))]
    name: String,
    #[garde(skip)]
    #[serde(deserialize_with = "digits")]
    pin: String,
}

/// Refuses with a message that shows what it refused, as those of serde do.
fn digits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text: String = serde::Deserialize::deserialize(deserializer)?;
    if text.chars().all(|c| c.is_ascii_digit()) {
        return Ok(text);
    }
    Err(serde::de::Error::custom(format!("`{text}` is not made of digits")))
}

fn load_strict(text: &str) -> Vec<Diagnostic> {
    let schema = Schema::new().with([
        Key::new("slots", Kind::Integer { min: 0, max: 1000 }, ""),
        Key::new("name", Kind::Text, ""),
        Key::new("pin", Kind::Text, "").secret(),
    ]);
    let release = Release { number: 1, key: "v", mark: Mark::Number(1), schema, ops: Vec::new() };
    let inputs =
        Inputs { texts: vec![Text::new(SourceKind::Global, "c.toml", text)], ..Inputs::default() };
    assemble::<Strict>(&Spec::new(History::new(release)), &inputs).err().unwrap_or_default()
}

#[test]
fn what_only_the_type_refuses_is_shown_where_it_stands() {
    let found = load_strict("v = 1\nslots = 300\n");
    assert_eq!((found.len(), found[0].code), (1, Code::Invalid), "{found:?}");
    let told = found[0].to_string();
    assert!(told.starts_with("c.toml:2:9: error[invalid]: `slots`: "), "{told}");
    assert!(told.contains("expected u8") && told.contains("from 0 to 1000"), "{told}");
    let found = load_strict("v = 1\nname = \"four\"\n");
    assert!(found[0].to_string().starts_with("c.toml:2:8: error[invalid]: `name`: "), "{found:?}");
    assert!(load_strict("v = 1\nslots = 3\nname = \"one\"\npin = \"1234\"\n").is_empty());
}

#[test]
fn a_secret_that_only_the_type_refuses_is_not_shown_in_its_message() {
    const CANARY: &str = "canary-7f3a";
    let found = load_strict(&format!("v = 1\npin = \"{CANARY}\"\n"));
    assert_eq!((found.len(), found[0].code), (1, Code::Invalid), "{found:?}");
    let shown = format!("{found:?}{}{}", found[0], serde_json::to_string(&found).unwrap());
    assert!(!shown.contains(CANARY), "{shown}");
    assert!(found[0].to_string().starts_with("c.toml:2:7: error[invalid]: `pin`"), "{}", found[0]);
}
