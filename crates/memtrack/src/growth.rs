//! How fast something grows: a quick figure for people. Whether it is a leak is decided elsewhere, with an interval.

/// The slope of the weighted least-squares line through `(seconds, value, weight)`, in units of value each second.
///
/// `None` without two points at different times, or when the figures do not stay finite.
#[must_use]
pub fn slope(points: impl Iterator<Item = (f64, f64, f64)> + Clone) -> Option<f64> {
    let (mut weights, mut mean_time, mut mean_value) = (0.0, 0.0, 0.0);
    for (time, value, weight) in points.clone() {
        weights += weight;
        mean_time += weight * time;
        mean_value += weight * value;
    }
    if weights.is_nan() || weights <= 0.0 {
        return None;
    }
    mean_time /= weights;
    mean_value /= weights;
    // Around the means: large values with small changes would lose theirs otherwise.
    let (mut products, mut squares) = (0.0, 0.0);
    for (time, value, weight) in points {
        products += weight * (time - mean_time) * (value - mean_value);
        squares += weight * (time - mean_time) * (time - mean_time);
    }
    let slope = products / squares;
    (squares > 0.0 && slope.is_finite()).then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_little_to_tell_is_none() {
        assert_eq!(slope([].into_iter()), None);
        assert_eq!(slope([(1.0, 5.0, 1.0)].into_iter()), None);
        assert_eq!(slope([(1.0, 5.0, 1.0), (1.0, 6.0, 1.0)].into_iter()), None);
        assert_eq!(slope([(f64::NAN, 5.0, 1.0), (1.0, 6.0, 1.0)].into_iter()), None);
    }

    proptest! {
        #[test]
        fn a_line_gives_its_slope(rate in -1e9f64..1e9, start in 0f64..1e12, count in 2usize..200) {
            let points = (0..count).map(|n| (n as f64, start + rate * n as f64, 1.0));
            let found = slope(points).unwrap();
            prop_assert!((found - rate).abs() <= 1e-3 + rate.abs() * 1e-6, "{found} for {rate}");
        }

        #[test]
        fn no_figures_panic(points: Vec<(f64, f64, f64)>) {
            let _ = slope(points.iter().copied());
        }
    }
}
