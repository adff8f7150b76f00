use std::f64::consts::{FRAC_2_PI, PI};

use proptest::prelude::*;

use super::*;

/// For whole degrees of freedom there is a closed form: 26.7.3 and 26.7.4 of M. Abramowitz and I. A. Stegun.
fn closed_form(t: f64, freedom: u32) -> f64 {
    let angle = (t.abs() / f64::from(freedom).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    let (mut term, mut sum) = (if odd { cos } else { 1.0 }, 0.0);
    let mut power = u32::from(odd);
    while power + 2 <= freedom {
        sum += term;
        term *= cos * cos * f64::from(power + 1) / f64::from(power + 2);
        power += 2;
    }
    1.0 - if odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}

#[test]
fn the_quantiles_are_those_of_the_tables() {
    // Two-sided; D. B. Owen, Handbook of Statistical Tables, and the last row the normal distribution.
    for (freedom, tenth, twentieth, hundredth, thousandth) in [
        (1.0, 6.3138, 12.7062, 63.6567, 636.6192),
        (2.0, 2.9200, 4.3027, 9.9248, 31.5991),
        (3.0, 2.3534, 3.1824, 5.8409, 12.9240),
        (4.0, 2.1318, 2.7764, 4.6041, 8.6103),
        (5.0, 2.0150, 2.5706, 4.0321, 6.8688),
        (10.0, 1.8125, 2.2281, 3.1693, 4.5869),
        (30.0, 1.6973, 2.0423, 2.7500, 3.6460),
        (120.0, 1.6577, 1.9799, 2.6174, 3.3735),
        (1e7, 1.6449, 1.9600, 2.5758, 3.2905),
    ] {
        for (chance, expected) in
            [(0.1, tenth), (0.05, twentieth), (0.01, hundredth), (0.001, thousandth)]
        {
            let found = quantile(freedom, chance);
            assert!((found / expected - 1.0).abs() < 3e-5, "{freedom} {chance}: {found}");
        }
    }
}

#[test]
fn the_gamma_function_is_known_at_halves_and_wholes() {
    let mut whole = 0.0f64;
    let mut half = PI.sqrt().ln();
    for n in 1..60u32 {
        let n = f64::from(n);
        assert!((ln_gamma(n) - whole).abs() < 1e-11 * whole.max(1.0), "{n}");
        assert!((ln_gamma(n - 0.5) - half).abs() < 1e-11 * half.abs().max(1.0), "{n} - 0.5");
        whole += n.ln();
        half += (n - 0.5).ln();
    }
    // Reflected: gamma(1/4) gamma(3/4) = pi sqrt(2).
    assert!((ln_gamma(0.25) + ln_gamma(0.75) - (PI * 2f64.sqrt()).ln()).abs() < 1e-12);
}

#[test]
fn unequal_variances_are_taken_as_they_are() {
    // By hand: t = 1.9215 with 7.09 degrees of freedom; the density summed up gives p = 0.0956.
    let test = welch(&[1., 2., 3., 4., 5.], &[3., 4., 5., 6., 9.]).unwrap();
    assert!((test.estimate - 2.4).abs() < 1e-9);
    assert!((test.p - 0.0956).abs() < 0.0002, "{}", test.p);
    assert!(test.low < 0.0 && test.high > 4.8);
}

#[test]
fn one_run_a_side_is_no_test_and_equal_runs_do_not_differ() {
    assert_eq!(welch(&[1.0], &[2.0, 3.0]), None);
    assert_eq!(welch(&[1.0, f64::NAN], &[2.0, 3.0]), None);
    assert_eq!(welch(&[5.0, 5.0], &[5.0, 5.0]).unwrap().p, 1.0);
    assert_eq!(welch(&[5.0, 5.0], &[6.0, 6.0]).unwrap().p, 0.0);
    assert_eq!(Estimate::mean(&[5.0, 5.0]).unwrap().reach(), 0.0);
}

fn group() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1e3f64..1e3, 2..12)
}

proptest! {
    #[test]
    fn whole_degrees_of_freedom_are_those_of_the_closed_form(t in 0.0f64..60.0, freedom in 1u32..200) {
        let (found, expected) = (two_sided(t, f64::from(freedom)), closed_form(t, freedom));
        prop_assert!((found - expected).abs() < 1e-11, "{found} {expected}");
    }

    #[test]
    fn one_and_two_degrees_have_tails_that_are_known_however_far_out(exponent in 0.0f64..8.0) {
        let t = 10f64.powf(exponent);
        let cauchy = FRAC_2_PI * (1.0 / t).atan();
        prop_assert!((two_sided(t, 1.0) / cauchy - 1.0).abs() < 1e-9);
        // 1 - t / sqrt(2 + t^2), without the cancellation.
        let root = (2.0 + t * t).sqrt();
        prop_assert!((two_sided(t, 2.0) / (2.0 / (root * (root + t))) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn further_out_and_with_more_freedom_is_rarer(
        t in 0.01f64..50.0, further in 1.01f64..3.0, freedom in 0.5f64..500.0, more in 1.01f64..3.0,
    ) {
        let here = two_sided(t, freedom);
        prop_assert!((0.0..=1.0).contains(&here));
        prop_assert_eq!(here, two_sided(-t, freedom));
        prop_assert!(two_sided(t * further, freedom) <= here);
        prop_assert!(two_sided(t, freedom * more) <= here + 1e-12);
    }

    #[test]
    fn a_quantile_is_passed_as_often_as_asked(freedom in 1.0f64..1e4, chance in 1e-6f64..0.999) {
        let found = two_sided(quantile(freedom, chance), freedom);
        prop_assert!((found / chance - 1.0).abs() < 1e-6, "{found} for {chance}");
    }

    #[test]
    fn sides_may_be_changed_and_neither_unit_nor_level_matters(
        one in group(), other in group(), level in -1e3f64..1e3, unit in 0.1f64..10.0,
    ) {
        let here = welch(&one, &other).unwrap();
        let back = welch(&other, &one).unwrap();
        prop_assert!((here.estimate + back.estimate).abs() < 1e-9);
        prop_assert!((here.low + back.high).abs() <= 1e-9 * here.low.abs().max(1.0));
        prop_assert!((here.p - back.p).abs() < 1e-9);
        let moved = |side: &[f64]| side.iter().map(|v| unit * v + level).collect::<Vec<_>>();
        let there = welch(&moved(&one), &moved(&other)).unwrap();
        prop_assert!((there.estimate - unit * here.estimate).abs() < 1e-6);
        prop_assert!((there.p - here.p).abs() < 1e-6);
    }

    #[test]
    fn the_interval_holds_zero_just_when_chance_would_do(one in group(), other in group()) {
        let test = welch(&one, &other).unwrap();
        prop_assume!((test.p - 0.05).abs() > 1e-6);
        prop_assert_eq!(test.low <= 0.0 && test.high >= 0.0, test.p > 0.05, "{:?}", test);
    }
}

#[test]
fn equal_groups_of_any_size_and_spread_differ_once_in_twenty() {
    // SplitMix64 of S. Vigna; the sum of twelve uniform numbers is normal enough.
    let mut state = 3u64;
    let mut normal = || {
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        (0..12).map(|_| next()).sum::<f64>() - 6.0
    };
    for (one, other, spread) in [(3, 3, 1.0), (5, 5, 4.0), (4, 12, 0.3), (20, 20, 1.0)] {
        let mut differ = 0;
        for _ in 0..2000 {
            let before: Vec<f64> = (0..one).map(|_| normal()).collect();
            let after: Vec<f64> = (0..other).map(|_| spread * normal()).collect();
            differ += u32::from(welch(&before, &after).unwrap().p < 0.05);
        }
        // 100 expected with a standard deviation of 9.7; of few values Welch's test finds fewer.
        assert!((50..=135).contains(&differ), "{one} {other} {spread}: {differ} of 2000");
    }
}
