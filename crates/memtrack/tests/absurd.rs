//! Kernel text that cannot be true: counted, named, left out, and the last good value kept with its age.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a panic here is a failed test")]

mod common;

use common::fixture::{Fixture, next};
use memtrack::sampler::{Absurd, Update};
use memtrack::source::Target;
use memtrack::{Absent, Tier};

#[test]
fn what_cannot_be_true_is_named_once_counted_each_time_and_left_out() {
    let fixture = Fixture::new();
    let mut sampler = fixture.sampler(Target::Process, Tier::Production);
    let all = sampler.all_within(100_000);
    sampler.start().unwrap();
    let named = || -> Absurd {
        let absurd = |update| if let Update::Absurd(absurd) = update { Some(absurd) } else { None };
        all.receiver().iter().find_map(absurd).unwrap()
    };
    // On a machine of 1 GiB: more than it has, negative, no number, a number that does not fit, kernel garbage.
    for (text, why, value) in [
        ("1048577 kB", Absent::Implausible, Some(1_048_577 << 10)),
        ("-5 kB", Absent::Malformed, None),
        ("many kB", Absent::Malformed, None),
        ("18446744073709551615 kB", Absent::Implausible, None),
        ("\u{fffd}\0\0 kB", Absent::Malformed, None),
    ] {
        fixture.set_rss("100 kB");
        while next(all.receiver()).process.rss != Ok(100 << 10) {}
        fixture.set_rss(text);
        let absurd = named();
        assert_eq!(
            (absurd.reading, absurd.why, absurd.value),
            ("process.rss", why, value),
            "{text}"
        );
        let (good, at) = absurd.last_good.unwrap();
        assert_eq!(good, 100 << 10);
        assert!(at < absurd.at, "its age is the time between the two");

        let sample = next(all.receiver());
        assert_eq!(sample.process.rss, Err(why));
        assert_eq!(sample.process.peak, Ok(200 << 10), "other readings stand");
        let counted = sampler.health().absurd;
        // As long as it lasts, the count rises and the last good value grows old, without a word to subscribers.
        let lasting = loop {
            match all.receiver().recv().unwrap() {
                Update::Absurd(again) => panic!("said twice: {again:?}"),
                Update::Sample(sample) => assert_eq!(sample.process.rss, Err(why)),
                _ => {}
            }
            let health = sampler.health();
            if health.absurd >= counted + 3 {
                break health.last_absurd.unwrap();
            }
        };
        assert_eq!(lasting.last_good, absurd.last_good);
        assert!(lasting.at > absurd.at);
    }
    // A machine that hides its size: nothing above 1 TiB is believed.
    fixture.set_rss("100 kB");
    fixture.set_machine("MemTotal: 0 kB");
    assert_eq!(named().reading, "system.total");
    while next(all.receiver()).process.rss != Ok(100 << 10) {}
    fixture.set_rss("1073741825 kB");
    let absurd = named();
    assert_eq!((absurd.reading, absurd.value), ("process.rss", Some((1 << 40) + 1024)));
    assert_eq!(sampler.health().failures, 0, "none of this is a failed read");
}
