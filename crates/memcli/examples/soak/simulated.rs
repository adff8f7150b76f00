//! The simulated days: a scripted service, a real config file with its real watcher, the real pipeline and a real trace.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, anyhow};
use memcfg::document;
use memcfg::files::Sources;
use memcfg::live::{LiveOptions, Reload};
use memcli::alert::Cause;
use memcli::pipeline::{Event, Pipeline, Policies};
use memcli::target::Found;
use memcli::trace::{EventRow, Header, Reader, Row, Writer};
use memleak::Verdict;
use memtrack::source::Target;

use crate::oracle::Oracle;
use crate::table::Table;
use crate::world::{self, DAY, INTERVAL, Settings};
use crate::{FLAT, Held, save};

/// What went wrong, counted.
#[derive(Debug, Default)]
struct Counts {
    samples: u64,
    edits: u64,
    refused: u64,
    unexpected_reloads: u64,
    alerts: u64,
    wrong_alerts: u64,
    level_alerts: u64,
    leaks_missed: u64,
    leaks: u64,
    false_leaks: u64,
    late_levels: u64,
    standing_levels: u64,
    transitions: u64,
}

pub(crate) fn run(days: u64) -> anyhow::Result<Table> {
    let started = Instant::now();
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let path = folder.path().join("config.toml");
    save(&path, &Settings::of(0).text(0, false))?;
    let mut options = LiveOptions::default();
    // Each edit is looked for when it has been made, and the clock is simulated: no event and no poll comes in between.
    options.events = false;
    options.poll = Duration::from_secs(3600);
    options.settle = Duration::from_micros(100);
    let live = document::Live::start_with(Sources::new().required_file(&path), options)
        .map_err(|problems| anyhow!("the first document was refused: {problems:?}"))?;

    let found = Found { watched: Target::System, label: "soak".to_owned() };
    let target = Target::Tree(memtrack::processes::ProcessId { pid: 1, start: 1 });
    let watch = || {
        let (pressure, budget, leak) = (live.pressure(), live.budget(), live.leak());
        Pipeline::new(&target, Policies { pressure, budget, leak })
    };
    let mut pipeline = watch();
    let mut oracle = Oracle::default();
    let trace = folder.path().join("soak.jsonl.gz");
    let header = Header::new(
        &found,
        None,
        SystemTime::UNIX_EPOCH,
        Duration::from_secs(INTERVAL),
        live.load().generation,
    );
    let file = std::fs::File::create(&trace).context("failed to create the trace")?;
    let mut writer = Writer::new(file, &header).context("failed to begin the trace")?;

    let mut counts = Counts::default();
    let mut held = Vec::new();
    let mut settings = Settings::of(0);
    let mut leak_told = false;
    for second in (0..days * DAY).step_by(INTERVAL as usize) {
        let minute = second / 60;
        if second % 60 == 0 && minute > 0 {
            edit(&live, &path, minute, &mut settings, &mut counts)?;
        }
        if world::restarts(second) {
            // Another process is another target: it is watched anew.
            pipeline = watch();
            oracle.forget();
        }
        let sample = world::sample(second);
        let mut written = Ok(());
        let mut found_leak = false;
        let mut told = Vec::new();
        pipeline.push(&sample, |numbered| {
            let row = match &numbered.event {
                Event::Sample(sample) => writer.sample(sample),
                _ => EventRow::new(numbered).map_or(Ok(()), |row| writer.event(&row)),
            };
            if row.is_err() {
                written = row;
            }
            match &numbered.event {
                Event::Level(_) => counts.transitions += 1,
                Event::Alert(alert) => match &alert.cause {
                    Cause::Level(_) => counts.level_alerts += 1,
                    cause => told.push((cause.name(), alert.severity)),
                },
                Event::Verdict(change) => {
                    found_leak = matches!(change.to, Verdict::Leak { .. });
                }
                _ => {}
            }
        });
        written.context("failed to write the trace")?;
        counts.samples += 1;

        let verdict = pipeline.verdict();

        counts.leaks += u64::from(found_leak);
        counts.false_leaks += u64::from(found_leak && !world::leak_may_be_told(second));
        leak_told |= found_leak;
        if second % DAY == DAY - INTERVAL {
            counts.leaks_missed += u64::from(world::leaks_on(second / DAY) && !leak_told);
            leak_told = false;
            held.push(Held::now()?);
        }

        let rss = sample.process.rss.unwrap_or(0);
        let due = oracle.due(sample.at.monotonic, rss, &verdict, settings);
        counts.alerts += told.len() as u64;
        counts.wrong_alerts += u64::from(told != due);

        let critical = world::used(second) >= settings.critical;
        let level = pipeline.level();
        counts.late_levels += u64::from(critical && level < mempressure::Level::Critical);
        counts.standing_levels +=
            u64::from(world::calm(second) && level != mempressure::Level::Normal);
    }
    drop(writer);

    let mut table = Table::default();
    table.note("simulated days", days);
    table.note("wall time, s", started.elapsed().as_secs());
    table.exactly("samples", counts.samples, days * DAY / INTERVAL);
    table.exactly("config edits", counts.edits, days * DAY / 60 - 1);
    table.note("of them broken", counts.refused);
    table.exactly("edits that came out otherwise than they should", counts.unexpected_reloads, 0);
    let generations = live.load().generation - 1;
    table.exactly("generations", generations, counts.edits - counts.refused);
    table.exactly("alerts, against the oracle's", counts.alerts, oracle.total);
    table.exactly("samples at which they differ", counts.wrong_alerts, 0);
    table.exactly("alerts on the level, one for each day's squeeze", counts.level_alerts, days);
    table.note("leaks found", counts.leaks);
    table.exactly("leaks missed", counts.leaks_missed, 0);
    table.exactly("leaks told that are none", counts.false_leaks, 0);
    table.exactly("samples over a threshold with the level below it", counts.late_levels, 0);
    table.exactly("samples in calm with a level that stands", counts.standing_levels, 0);
    table.note("level transitions", counts.transitions);
    table.exactly("samples read back from the trace", read_back(&trace)?, counts.samples);
    // The first days fill what is bounded: windows, baselines, the allocator's pools.
    let (rss, descriptors, threads) = Held::gained(held.get(5..).unwrap_or_default());
    let size = |bytes: u64| memtrack::Size(bytes).to_string();
    table.at_most("RSS between the sixth day and the last", rss, FLAT, size);
    table.exactly("descriptors gained", descriptors as u64, 0);
    table.exactly("threads gained", threads as u64, 0);
    if let Some(last) = held.last() {
        table.note("RSS at the end", size(last.rss));
    }
    Ok(table)
}

/// Saves the edit of `minute` and sees what becomes of it.
fn edit(
    live: &document::Live,
    path: &std::path::Path,
    minute: u64,
    settings: &mut Settings,
    counts: &mut Counts,
) -> anyhow::Result<()> {
    let broken = world::broken(minute);
    let wanted = Settings::of(minute);
    save(path, &wanted.text(minute, broken))?;
    live.check_now();
    counts.edits += 1;
    counts.refused += u64::from(broken);
    let mut reloads = live.reloads().try_iter();
    let as_it_should = match (reloads.next(), broken) {
        (Some(Reload::Accepted { .. }), false) | (Some(Reload::Rejected { .. }), true) => {
            reloads.next().is_none()
        }
        _ => false,
    };
    counts.unexpected_reloads += u64::from(!as_it_should);
    if !broken {
        *settings = wanted;
    }
    Ok(())
}

fn read_back(trace: &std::path::Path) -> anyhow::Result<u64> {
    let mut reader = Reader::open(trace).context("failed to open the trace")?;
    let mut samples = 0;
    while let Some(row) = reader.read() {
        samples += u64::from(matches!(row, Row::Sample(_)));
    }
    Ok(samples)
}
