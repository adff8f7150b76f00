//! The same on a real clock: this process watches itself at 10 Hz, and its config file is edited each second.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use memcfg::document;
use memcfg::files::Sources;
use memcfg::live::LiveOptions;
use memcli::pipeline::{Pipeline, Policies};
use memleak::Verdict;
use memtrack::processes::ProcessId;
use memtrack::sampler::{Sampler, Update};
use memtrack::source::{LinuxSource, Target};

use crate::table::Table;
use crate::{FLAT, Held, save};

/// Time between edits, and between looks at what is held.
const EDIT: Duration = Duration::from_secs(1);

pub(crate) fn run(duration: Duration) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let path = folder.path().join("config.toml");
    save(&path, &text(0))?;
    let live =
        document::Live::start_with(Sources::new().required_file(&path), LiveOptions::default())
            .map_err(|problems| anyhow!("the first document was refused: {problems:?}"))?;
    let target = Target::Process(ProcessId::own().context("failed to find ourselves")?);
    let source = LinuxSource::open(&target).context("failed to open ourselves")?;
    let policies = Policies { pressure: live.pressure(), budget: live.budget(), leak: live.leak() };
    let mut pipeline = Pipeline::new(&target, policies);
    let mut sampler = Sampler::new(source, live.track());
    let all = sampler.all();
    sampler.start().context("failed to start the sampler")?;

    let started = Instant::now();
    let (mut edits, mut failed, mut samples, mut leaks, mut backwards) =
        (0, 0u64, 0u64, 0u64, 0u64);
    let mut last = None;
    let mut held = Vec::new();
    let ticks = crossbeam_channel::tick(EDIT);
    while started.elapsed() < duration {
        crossbeam_channel::select! {
            recv(ticks) -> _ => {
                edits += 1;
                save(&path, &text(edits))?;
                held.push(Held::now()?);
            }
            recv(all.receiver()) -> update => match update {
                Ok(Update::Sample(sample)) => {
                    samples += 1;
                    backwards += u64::from(last.is_some_and(|last| sample.at.monotonic <= last));
                    last = Some(sample.at.monotonic);
                    pipeline.push(&sample, |_| {});
                    leaks += u64::from(matches!(pipeline.verdict(), Verdict::Leak { .. }));
                }
                Ok(Update::Failed(_)) => failed += 1,
                Ok(_) => {}
                Err(_) => return Err(anyhow!("the sampler ended")),
            },
        }
    }
    live.check_now();
    let lost = all.lost();
    let generation = live.load().generation;
    sampler.stop();

    let mut table = Table::default();
    table.note("wall time, s", started.elapsed().as_secs());
    table.at_least("samples", samples, duration.as_secs() * 10 * 98 / 100);
    table.exactly("samples lost", lost, 0);
    table.exactly("reads that failed", failed, 0);
    table.exactly("samples out of order", backwards, 0);
    table.note("config edits", edits);
    // Two edits may settle as one when the machine is busy; the last one is always in force.
    table.note("generations", generation - 1);
    let batch = live.load().loaded.value.workload.batch_size;
    table.exactly("the last edit is in force", u64::from(batch), batch_size(edits));
    table.exactly("samples with a leak verdict", leaks, 0);
    let late = held.len() / 2;
    let (rss, descriptors, threads) = Held::gained(&held[late..]);
    let size = |bytes: u64| memtrack::Size(bytes).to_string();
    table.at_most("RSS over the second half", rss, FLAT, size);
    table.exactly("descriptors gained", descriptors as u64, 0);
    table.exactly("threads gained", threads as u64, 0);
    Ok(table)
}

fn batch_size(edit: u64) -> u64 {
    10 + edit % 400
}

fn text(edit: u64) -> String {
    let batch = batch_size(edit);
    format!("schema_version = 3\n[track]\ninterval = \"100ms\"\n[workload]\nbatch_size = {batch}\n")
}
