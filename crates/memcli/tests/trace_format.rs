//! What holds of the trace format for any samples and any bytes.

#![expect(clippy::unwrap_used, reason = "a panic in a fixture is a failed test")]

use std::io::{Cursor, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use memcli::target::Found;
use memcli::trace::error::{Broken, TraceError};
use memcli::trace::fields::{FIELDS, SHARES};
use memcli::trace::{EventRow, Header, Reader, Row, Writer};
use memtrack::source::Target;
use memtrack::testing::{absent, reading};
use memtrack::{Reading, Sample, Stamp};
use proptest::collection::vec;
use proptest::prelude::*;

fn started() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_700_000)
}

fn header() -> Header {
    let found = Found { watched: Target::System, label: "system".into() };
    Header::new(
        &found,
        Some(&["a b".into(), "\"".into()]),
        started(),
        Duration::from_millis(100),
        3,
    )
}

fn whole() -> impl Strategy<Value = Reading<u64>> {
    reading(prop_oneof![any::<u64>(), Just(4096), Just(u64::MAX)])
}

fn share() -> impl Strategy<Value = Reading<f64>> {
    // The kernel tells hundredths of a percent; short decimals read back exactly.
    prop_oneof![(0..=10_000u32).prop_map(|n| Ok(f64::from(n) / 1e4)), absent().prop_map(Err)]
}

prop_compose! {
    fn sample()(
        wholes in vec(whole(), FIELDS.len()),
        shares in vec(share(), SHARES.len()),
        age in prop_oneof![(0..100_000u64).prop_map(|ms| Ok(Duration::from_millis(ms))), absent().prop_map(Err)],
        step_ms in 1u64..100_000,
        ahead_ms in -1_000_000i64..1_000_000,
        gap: bool,
    ) -> (u64, i64, Sample) {
        let at = Stamp { monotonic: Duration::ZERO, wall: started(), gap };
        let mut sample = Sample::empty(at);
        for (field, value) in FIELDS.iter().zip(wholes) {
            *(field.of)(&mut sample) = value;
        }
        for (share, value) in SHARES.iter().zip(shares) {
            *(share.of)(&mut sample) = value;
        }
        sample.process.pss_age = age;
        (step_ms, ahead_ms, sample)
    }
}

/// Samples one after the other, on a wall clock that jumps about.
fn samples() -> impl Strategy<Value = Vec<Sample>> {
    vec(sample(), 0..20).prop_map(|steps| {
        let mut now = Duration::ZERO;
        steps
            .into_iter()
            .map(|(step_ms, ahead_ms, mut sample)| {
                now += Duration::from_millis(step_ms);
                sample.at.monotonic = now;
                let wall = started() + now;
                let ahead = Duration::from_millis(ahead_ms.unsigned_abs());
                sample.at.wall = if ahead_ms < 0 { wall - ahead } else { wall + ahead };
                sample
            })
            .collect()
    })
}

fn written(samples: &[Sample]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), &header()).unwrap();
    for sample in samples {
        writer.sample(sample).unwrap();
    }
    let end = serde_json::from_str(
        r#"{"end":{"kind":"time_up"},"exit_code":0,"duration_seconds":1.5,"peak_rss_bytes":7}"#,
    );
    writer.end(&end.unwrap()).unwrap()
}

fn open(bytes: Vec<u8>) -> Result<Reader, TraceError> {
    let size = bytes.len() as u64;
    Reader::new(Path::new("test"), Cursor::new(bytes), size)
}

fn rows(reader: &mut Reader) -> Vec<Row> {
    std::iter::from_fn(|| reader.read()).collect()
}

fn samples_of(rows: &[Row]) -> Vec<Sample> {
    rows.iter()
        .filter_map(|row| match row {
            Row::Sample(sample) => Some(*sample),
            _ => None,
        })
        .collect()
}

proptest! {
    // Compressing is slow without optimisation; the cores of the format are in every case.
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_read(samples in samples()) {
        let mut reader = open(written(&samples)).unwrap();
        let rows = rows(&mut reader);
        prop_assert_eq!(reader.damage(), None);
        prop_assert!(matches!(&rows[0], Row::Header(read) if **read == header()));
        prop_assert!(matches!(rows.last(), Some(Row::End(end)) if end.peak_rss_bytes == Some(7)));
        prop_assert_eq!(samples_of(&rows), samples);
    }

    #[test]
    fn a_file_cut_anywhere_gives_a_prefix_and_says_so(samples in samples(), cut in 0.0..1.0_f64) {
        let mut bytes = written(&samples);
        bytes.truncate((bytes.len() as f64 * cut) as usize);
        let Ok(mut reader) = open(bytes) else { return Ok(()) };
        let read = samples_of(&rows(&mut reader));
        prop_assert!(samples.starts_with(&read));
        prop_assert!(reader.damage().is_some());
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(mut reader) = open(bytes) {
            rows(&mut reader);
        }
    }

    #[test]
    fn no_text_behind_a_header_panics(
        text in "(\\{\"(sample|event|end|schema|x)\":\\{?(\"(t|wall|rss|gap|absent|level)\":(-?[0-9]{1,20}|1e400|null|\"gone\"|true|\\{\\}),?){0,4}\\}?\\}?\n?){0,6}"
    ) {
        let bytes = [serde_json::to_vec(&header()).unwrap(), b"\n".to_vec(), text.into_bytes()];
        rows(&mut open(bytes.concat()).unwrap());
    }

    #[test]
    fn a_flipped_bit_never_panics_and_never_passes_unnoticed(
        samples in samples(), at in any::<prop::sample::Index>(), bit in 0u8..8
    ) {
        let mut bytes = written(&samples);
        // The ten bytes of the gzip header hold a time and an operating system that nobody checks.
        let at = 10 + at.index(bytes.len() - 10);
        bytes[at] ^= 1 << bit;
        let Ok(mut reader) = open(bytes) else { return Ok(()) };
        let read = samples_of(&rows(&mut reader));
        prop_assert!(reader.damage().is_some() || read == samples);
    }
}

#[test]
fn runs_after_a_broken_one_are_read_and_rows_before_the_fault_are_not_lost() {
    let samples: Vec<Sample> =
        (0..400).map(|n| sample_at(100 * n, 4096 * (n * 7919 % 1009))).collect();
    let whole = written(&samples);
    let runs = |bytes: Vec<u8>| {
        let mut reader = open(bytes).unwrap();
        let rows = rows(&mut reader);
        let runs: Vec<_> = rows
            .split(|row| matches!(row, Row::Header(_)))
            .skip(1)
            .map(|run| (samples_of(run).len(), matches!(run.last(), Some(Row::End(_)))))
            .collect();
        (runs, reader.damages().to_vec())
    };
    // Cut off at any byte, and another recording behind it.
    for cut in (400..whole.len() - 1).step_by(41) {
        let alone = {
            let mut reader = open(whole[..cut].to_vec()).unwrap();
            samples_of(&rows(&mut reader)).len()
        };
        let (read, damages) = runs([&whole[..cut], &whole].concat());
        assert_eq!(read.last(), Some(&(400, true)), "{cut}: {damages:?}");
        assert!(read.len() == 2 && read[0].0 >= alone, "{cut}: {read:?}, {alone} alone");
        assert!(damages.len() == 1 && damages[0].rows as usize == read[0].0 + 1, "{damages:?}");
    }
    // A byte that is another: what was unpacked before it is there.
    let mut packed = whole.clone();
    let at = packed.len() / 2;
    packed[at] ^= 0x55;
    let (read, damages) = runs(packed);
    assert!(read[0].0 >= 150, "{read:?}: {damages:?}");
    // One that was killed, and one after it in plain text: its end is missing.
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut MultiGzDecoder::new(&*whole), &mut plain).unwrap();
    let rows: Vec<&str> = plain.lines().collect();
    let text = [&rows[..50], &rows[..]].concat().join("\n") + "\n";
    let (read, damages) = runs(text.into_bytes());
    assert_eq!(read, [(49, false), (400, true)]);
    assert!(matches!(damages[..], [ref one] if matches!(one.what, Broken::CutOff { .. })));
}

fn sample_at(ms: u64, rss: u64) -> Sample {
    let monotonic = Duration::from_millis(ms);
    let mut sample = Sample::empty(Stamp { monotonic, wall: started() + monotonic, gap: false });
    sample.process.rss = Ok(rss);
    sample
}

/// Keeps what was written even when the writer is never dropped, as a file does when its writer is killed.
#[derive(Clone, Default)]
struct Shared(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn samples_that_waited_for_each_other_are_flushed_together_and_at_once() {
    let disk = Shared::default();
    let mut writer = Writer::new(disk.clone(), &header()).unwrap();
    let on_disk = || samples_of(&rows(&mut open(disk.0.borrow().clone()).unwrap())).len();
    writer.hold();
    for n in 0..20 {
        writer.sample(&sample_at(100 * n, n)).unwrap();
        assert_eq!(on_disk(), 0, "more is to come");
    }
    writer.release().unwrap();
    assert_eq!(on_disk(), 20);
    writer.hold();
    writer.sample(&sample_at(2_000, 7)).unwrap();
    writer.release().unwrap();
    assert_eq!(on_disk(), 20, "not a second since");
}

#[test]
fn a_killed_writer_loses_at_most_the_last_second() {
    let disk = Shared::default();
    let mut writer = Writer::new(disk.clone(), &header()).unwrap();
    for n in 0..95 {
        writer.sample(&sample_at(100 * n, n)).unwrap();
    }
    std::mem::forget(writer);
    let bytes = disk.0.borrow().clone();
    let mut reader = open(bytes).unwrap();
    let read = samples_of(&rows(&mut reader));
    assert!(read.len() > 95 - 10, "{} samples", read.len());
    let damage = reader.damage().unwrap();
    assert!(matches!(damage.what, Broken::CutOff { .. }), "{damage}");
    assert_eq!(damage.rows, read.len() as u64 + 1);
}

#[test]
fn rows_say_only_what_changed_and_zcat_reads_them() {
    let bytes = written(&[sample_at(0, 4096), sample_at(100, 4096), sample_at(200, 8192)]);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut MultiGzDecoder::new(&*bytes), &mut text).unwrap();
    let rows: Vec<_> = text.lines().skip(1).take(3).collect();
    assert_eq!(
        rows,
        [
            r#"{"sample":{"t":0.0,"rss":4096}}"#,
            r#"{"sample":{"t":0.1}}"#,
            r#"{"sample":{"t":0.2,"rss":8192}}"#
        ]
    );
}

#[test]
fn concatenated_traces_are_several_runs() {
    let bytes = [written(&[sample_at(0, 1)]), written(&[sample_at(0, 2), sample_at(100, 2)])];
    let mut reader = open(bytes.concat()).unwrap();
    let rows = rows(&mut reader);
    assert_eq!(rows.iter().filter(|row| matches!(row, Row::Header(_))).count(), 2);
    assert_eq!(samples_of(&rows), [sample_at(0, 1), sample_at(0, 2), sample_at(100, 2)]);
    assert_eq!(reader.damage(), None);
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let header =
        serde_json::to_string(&header()).unwrap().replace("\"writer\"", "\"new\":[],\"writer\"");
    let text = format!(
        "{header}\n{{\"of_a_later_version\":[{{\"pid\":1}}]}}\n{{\"sample\":{{\"t\":1,\"rss\":5,\"new\":{{}}}}}}\n\
         {{\"event\":{{\"t\":1,\"new\":1}}}}\n"
    );
    let mut reader = open(text.into_bytes()).unwrap();
    let rows = rows(&mut reader);
    assert_eq!(rows.len(), 3);
    assert_eq!(samples_of(&rows)[0].process.rss, Ok(5));
    assert!(
        matches!(&rows[2], Row::Event(event) if *event == EventRow { t: 1.0, ..EventRow::default() })
    );
}

#[test]
fn a_malformed_row_ends_the_reading_and_the_rest_is_counted() {
    let header = serde_json::to_string(&header()).unwrap();
    let text = format!(
        "{header}\n{{\"sample\":{{\"t\":1,\"rss\":5}}}}\n{{\"sample\":{{\"t\":-1}}}}\n1\n2\n"
    );
    let mut reader = open(text.into_bytes()).unwrap();
    assert_eq!(samples_of(&rows(&mut reader)).len(), 1);
    let damage = reader.damage().unwrap();
    assert_eq!(damage.rows, 2);
    assert!(matches!(damage.what, Broken::Malformed { row: 3, after: 2, .. }), "{damage:?}");
}

#[test]
fn a_time_that_goes_back_or_leaps_ends_the_reading() {
    let hour = 3_600_000;
    for (third, why) in [(1500, "goes back"), (6 * hour, "leaps by 5 h 59 min")] {
        let samples = [2000, 2100, third].map(|ms| sample_at(ms, 1 << 20));
        let mut reader = open(written(&samples)).unwrap();
        let rows = rows(&mut reader);
        assert_eq!(samples_of(&rows).len(), 2);
        let damage = reader.damage().unwrap().to_string();
        assert!(damage.contains(why), "{damage}");
    }
    // The first row may stand anywhere, and a gap that is told may be of any length.
    let mut samples = [6 * hour, 7 * hour, 20 * hour].map(|ms| sample_at(ms, 1 << 20));
    samples[2].at.gap = true;
    let mut reader = open(written(&samples)).unwrap();
    assert_eq!(samples_of(&rows(&mut reader)).len(), 3);
}

#[test]
fn other_files_are_refused_by_what_they_are() {
    let refused = |bytes: &[u8]| open(bytes.to_vec()).unwrap_err().to_string();
    assert_eq!(refused(b""), "`test` is no trace: it is empty");
    assert!(refused(b"hello\n").contains("neither a header of a trace nor the names of columns"));
    assert!(refused(b"{\"schema\":\"memcli.summary/1\"}\n").contains("another document"));
    assert_eq!(
        refused(b"{\"schema\":\"memcli.trace/2\"}\n"),
        "`test` is of the format `memcli.trace/2`, and this memcli reads `memcli.trace/1`"
    );
    assert!(refused(b"{\"schema\":\"memcli.tr").contains("cut off"));
}

#[test]
fn imports_read_like_traces() {
    let mut reader =
        open(b"CMDLINE python x.py\nMEM 1.0 1690000000.5\nMEM 2.0 1690000001.5\nMEM 3".to_vec())
            .unwrap();
    let read = rows(&mut reader);
    let Row::Header(header) = &read[0] else { panic!("{read:?}") };
    assert_eq!(header.writer, "mprof");
    assert_eq!(header.command.as_deref(), Some(&["python".to_owned(), "x.py".into()][..]));
    assert_eq!(samples_of(&read).len(), 2);
    assert!(matches!(reader.damage().unwrap().what, Broken::CutOff { bytes: 5 }));

    let mut reader = open(b"t_s,rss_bytes\n0,1\n1,2".to_vec()).unwrap();
    assert_eq!(samples_of(&rows(&mut reader)).len(), 2);
    assert_eq!(reader.damage(), None);
}
