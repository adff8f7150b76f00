//! The sums that are kept against the sums that the textbook takes.

use proptest::prelude::*;

use super::*;

/// Slope and standard error by their definitions, in two passes over all samples.
fn textbook(samples: &[(f64, f64)]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (mt, my) = (mean(|s| s.0), mean(|s| s.1));
    let stt: f64 = samples.iter().map(|(t, _)| (t - mt) * (t - mt)).sum();
    let sty: f64 = samples.iter().map(|(t, y)| (t - mt) * (y - my)).sum();
    let slope = sty / stt;
    let left: f64 = samples.iter().map(|(t, y)| (y - my - slope * (t - mt)).powi(2)).sum();
    (slope, (left / (n - 2.0) / stt).sqrt())
}

fn near(a: f64, b: f64, scale: f64) -> bool {
    (a - b).abs() <= 1e-6 * scale
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_says_what_the_textbook_says(
        steps in prop::collection::vec((0.1f64..30.0, 0.0f64..1e9), 3..400),
        first in 0.0f64..1e6,
        parts in prop::sample::select(vec![1.0, 40.0, PARTS as f64]),
    ) {
        // All lies within the window, in one part of it or in many.
        let span: f64 = steps.iter().map(|(step, _)| step).sum();
        let window = (span + 1.0) * PARTS as f64 / parts;
        let (mut recent, mut samples, mut t) = (Recent::default(), Vec::new(), first);
        for (step, y) in steps {
            t += step;
            recent.push(t, y, window);
            samples.push((t, y));
        }
        let sums = recent.sums().expect("samples were pushed");
        prop_assert_eq!(sums.n, samples.len() as f64);
        let ((slope, error), (truth, spread)) = (sums.slope().expect("time moves on"), textbook(&samples));
        let scale = truth.abs().max(spread);
        prop_assert!(near(slope, truth, scale), "{slope} for {truth}");
        prop_assert!(near(error, spread, scale), "{error} for {spread}");
    }
}

#[test]
fn two_samples_or_one_moment_have_no_slope() {
    let mut recent = Recent::default();
    assert_eq!(recent.sums(), None);
    recent.push(0.0, 1.0, 60.0);
    recent.push(1.0, 2.0, 60.0);
    assert_eq!(recent.sums().and_then(|sums| sums.slope()), None);
    recent.push(2.0, 3.0, 60.0);
    assert_eq!(recent.sums().and_then(|sums| sums.slope()), Some((1.0, 0.0)));
    let moment = Sums::of(5.0, 1.0).with(Sums::of(5.0, 9.0)).with(Sums::of(5.0, 3.0));
    assert_eq!(moment.slope(), None, "no time passed");
}

#[test]
fn what_lies_before_the_window_is_forgotten() {
    const WINDOW: f64 = 120.0;
    let mut recent = Recent::default();
    for second in 0..=600 {
        // Steep at first, then as flat as can be.
        recent.push(f64::from(second), f64::from(second.min(300)) * 1e6, WINDOW);
    }
    let sums = recent.sums().expect("samples were pushed");
    assert_eq!(sums.n, WINDOW + 1.0, "one sample a second, both ends of the window");
    assert_eq!(sums.slope(), Some((0.0, 0.0)));
}

#[test]
fn a_window_has_parts_of_its_hundred_and_twentieth() {
    let mut recent = Recent::default();
    for tenth in 0..12_000 {
        recent.push(f64::from(tenth) / 10.0, 0.0, 600.0);
    }
    // Parts of 5 s, and of the oldest what its mean still leaves within the window.
    assert!((119..=122).contains(&recent.parts()), "{}", recent.parts());
    assert!((5_950.0..=6_050.0).contains(&recent.sums().expect("samples were pushed").n));
}

#[test]
fn a_window_that_grows_again_and_again_stays_in_bounded_memory() {
    let (mut recent, mut window, mut most) = (Recent::default(), 120.0, 0);
    for second in 0..20_000 {
        let t = f64::from(second);
        if t > window {
            window *= 2.0;
        }
        recent.push(t, t, window);
        most = most.max(recent.parts());
    }
    assert_eq!(most, 2 * PARTS + 1, "as many as are let stand, and no more");
    assert_eq!(recent.sums().expect("samples were pushed").n, 20_000.0, "none was lost");
}
