//! What is told "of the time" does not depend on how often somebody looked, and the peak of a tree is told as it is known.

use serde_json::{Value, json};

use crate::judged::{MIB, document, end, sample};
use crate::support::{Folder, run, run_summed};

/// 8 MiB, from 6 s on a rise to 56 MiB within 1 s, and from 9 s on the way back.
fn size_at(seconds: f64) -> f64 {
    match seconds {
        ..6.0 => 8.0,
        ..7.0 => 8.0 + 48.0 * (seconds - 6.0),
        ..9.0 => 56.0,
        _ => 56.0 - 48.0 * (seconds - 9.0),
    }
}

/// Ten samples a second for 10 s; with a limit near, 200 a second from 6 s to 9 s.
fn watched(folder: &Folder, name: &str, near: bool) -> String {
    let more = json!({ "pss_at": 0.0 });
    let looks =
        (0..2000_u64).filter(|look| look % 20 == 0 || (near && (1200..1800).contains(look)));
    let rows = looks.map(|look| {
        let seconds = look as f64 / 200.0;
        let mut row = sample(0, size_at(seconds), &more);
        row["sample"]["t"] = json!(seconds);
        row["sample"]["pss"] = row["sample"]["rss"].clone();
        row["sample"]["pss_at"] = json!(seconds);
        row
    });
    folder.trace(name, &json!({}), rows.chain([end(10.0)]))
}

#[test]
fn a_limit_nearby_changes_no_figure_of_the_same_program() {
    let folder = Folder::new();
    let (far, near) = (watched(&folder, "far", false), watched(&folder, "near", true));
    let report = |trace: &str| document(&["report", "--json", trace])["runs"][0].clone();
    let (one, other) = (report(&far), report(&near));
    assert_eq!((&one["samples"], &other["samples"]), (&json!(100), &json!(670)));
    for series in ["watched", "rss", "footprint", "pss"] {
        let of = |run: &Value, key: &str| run["percentiles"][series][key].as_u64().unwrap();
        for key in ["mean_bytes", "p50_bytes", "p90_bytes", "p95_bytes", "p99_bytes"] {
            let (one, other) = (of(&one, key), of(&other, key));
            // Within a tenth of a second it rises by 4.8 MiB.
            assert!(one.abs_diff(other) < 5 * MIB, "{series} {key}: {one} and {other}");
        }
        let (one, other) = (of(&one, "mean_bytes"), of(&other, "mean_bytes"));
        assert!(one.abs_diff(other) < MIB / 20, "{series}: {one} and {other}");
        assert_eq!(
            of(&report(&near), "p50_bytes"),
            8 * MIB + if series == "watched" { 0 } else { 6 * MIB }
        );
    }
    // So many fit, whoever looked.
    let plan =
        |trace: &str| document(&["budget", "--limit", "256MiB", "--json", trace])["plan"].clone();
    let (one, other) = (plan(&far), plan(&near));
    for key in ["workers", "workers_at_peak", "p50_bytes", "p99_bytes", "budget_bytes"] {
        assert_eq!(one[key], other[key], "{key}");
    }
    // Nor is it worse than it was, by one run or by several.
    for runs in [1, 3] {
        let base = vec![far.as_str(); runs - 1];
        let new = vec![near.as_str(); runs - 1];
        let flags = |flag, files: Vec<&str>| -> Vec<String> {
            files.into_iter().flat_map(|file| [String::from(flag), file.into()]).collect()
        };
        let mut words = vec!["diff".to_owned(), "--json".to_owned(), far.clone(), near.clone()];
        words.extend(flags("--base", base));
        words.extend(flags("--new", new));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let diff = document(&words);
        let steady = diff["rows"].as_array().unwrap().iter().find(|row| row["metric"] == "steady");
        let steady = steady.unwrap();
        let change = steady["change"].as_f64().unwrap();
        assert!(change.abs() < 0.003 * steady["base"].as_f64().unwrap(), "{runs}: {steady}");
        assert_eq!(steady["verdict"], "no_difference", "{runs}: {steady}");
    }
    for format in ["human", "html"] {
        let said = |trace: &str| run(&["report", "-f", format, trace]).stdout;
        assert!(said(&far).contains(", one every 100 ms"), "{}", said(&far));
        assert!(said(&near).contains("(one every 100 ms was asked for)"), "{}", said(&near));
    }
}

#[test]
fn the_mean_of_a_run_is_that_of_its_trace() {
    let folder = Folder::new();
    let trace = folder.at("t.jsonl.gz");
    // Close enough to its limit that it is looked at more often.
    let words = ["run", "-q", "--limit", "40MiB", "-o", &trace, "--"];
    let demo = ["demo", "leak", "--unwatched", "--rate", "16MiB/s", "--for", "1500ms"];
    let command = [&[env!("CARGO_BIN_EXE_memcli")][..], &demo].concat();
    let (said, summary) = run_summed(&[&words[..], &command].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = document(&["report", "--json", &trace]);
    let spread = &report["runs"][0]["percentiles"]["rss"];
    assert_eq!(summary["mean_rss_bytes"], spread["mean_bytes"], "{summary}");
    assert_eq!(summary["peak"]["size_bytes"], report["runs"][0]["peak"]["size_bytes"]);
}

/// A shell of 2 MiB that starts a program of 300 MiB at 1.1 s, which is gone at 1.5 s. PSS is measured each second.
fn spike(folder: &Folder) -> String {
    let rows = (0..30).map(|tenth| {
        let there = (11..15).contains(&tenth);
        let mib = if there { 302.0 } else { 2.0 };
        let measured = tenth / 10 * 10;
        sample(
            tenth,
            mib,
            &json!({ "procs": if there { 2 } else { 1 }, "pss": (mib * MIB as f64) as u64, "pss_at": measured as f64 / 10.0 }),
        )
    });
    folder.trace(
        "spike",
        &json!({ "command": ["sh", "-c", "./spike; true"] }),
        rows.chain([end(3.0)]),
    )
}

#[test]
fn the_highest_estimate_is_the_peak_when_it_was_measured_before_and_after() {
    let folder = Folder::new();
    let trace = spike(&folder);
    let report = document(&["report", "--json", &trace]);
    let peak = &report["runs"][0]["peak"];
    assert_eq!((&peak["size_measure"], &peak["size_estimated"]), (&json!("PSS"), &json!(true)));
    assert_eq!((&peak["size_bytes"], &peak["pss_bytes"]), (&json!(302 * MIB), &json!(2 * MIB)));
    assert_eq!(peak["pss_likely_bytes"], json!(302 * MIB));
    for said in [run(&["report", &trace]), run(&["report", "-f", "html", &trace])] {
        let words = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("about 302.0 MiB PSS"), "{words}");
        assert!(words.contains("estimated, measured up to 2.0 MiB"), "{words}");
    }
    let plan = document(&["budget", "--limit", "1GiB", "--json", &trace]);
    assert_eq!(
        (&plan["plan"]["peak_bytes"], &plan["peak_estimated"]),
        (&json!(302 * MIB), &json!(true))
    );
    let diff = document(&["diff", "--json", &trace, &trace]);
    assert_eq!(
        (&diff["rows"][0]["base"], &diff["peak_estimated"]),
        (&json!(302.0 * MIB as f64), &json!(true))
    );
    assert!(run(&["diff", &trace, &trace]).stdout.contains("the peak of a run is an estimate"));
}

#[test]
fn a_tree_that_grows_is_recorded_while_it_does() {
    let folder = Folder::new();
    let trace = folder.at("t.jsonl.gz");
    let memcli = env!("CARGO_BIN_EXE_memcli");
    let script = format!("'{memcli}' demo leak --unwatched --rate 32MiB/s --for 1500ms; true");
    let said = run(&["run", "-q", "-o", &trace, "--", "sh", "-c", &script]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = document(&["report", "--json", &trace]);
    let run_of = &report["runs"][0];
    let rows = run_of["processes"]["rows"].as_array().unwrap();
    let listed: u64 = rows.iter().filter_map(|row| row["rss"].as_u64()).sum();
    let highest = run_of["percentiles"]["rss"]["max_bytes"].as_u64().unwrap();
    assert_eq!(rows.len(), 2, "{run_of}");
    assert!(listed > highest / 2, "{listed} of {highest}");
    let words = run(&["report", &trace]).stdout;
    assert!(words.contains("2 processes, recorded at"), "{words}");
}
