//! The sizes beside an axis: as short as they can be and still differ from each other.

use memtrack::Size;

/// The most digits behind the point: more would not fit beside a chart.
const DIGITS: usize = 3;
/// The units above bytes, with their powers of two.
const UNITS: [(&str, i32); 6] =
    [("EiB", 60), ("PiB", 50), ("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// The labels of `values`, in bytes and in order, as [`Size`] shows them; where neighbours would read the same, with more digits.
/// One that still would is left empty, so that no label stands twice.
#[must_use]
pub fn labels(values: &[f64]) -> Vec<String> {
    let differ = |labels: &[String]| labels.windows(2).all(|pair| pair[0] != pair[1]);
    let with = |digits| values.iter().map(|bytes| label(*bytes, digits)).collect::<Vec<_>>();
    let mut labels =
        (1..=DIGITS).map(with).find(|labels| differ(labels)).unwrap_or_else(|| with(DIGITS));
    for n in (1..labels.len()).rev() {
        if labels[n] == labels[n - 1] {
            labels[n].clear();
        }
    }
    labels
}

/// A round size as it is, where it takes no more than two digits, else in a smaller unit: `1.25 GiB`, `1424.0 MiB`.
#[must_use]
pub fn round(bytes: f64) -> String {
    let units = UNITS.iter().filter(|(_, power)| bytes >= 2f64.powi(*power));
    let exact =
        units.flat_map(|unit| [(unit, 1), (unit, 2)]).find_map(|((name, power), digits)| {
            let number = bytes / 2f64.powi(*power);
            let whole = (number * 10f64.powi(digits as i32)).fract() == 0.0;
            whole.then(|| format!("{number:.digits$} {name}"))
        });
    exact.unwrap_or_else(|| Size(bytes.max(0.0) as u64).to_string())
}

fn label(bytes: f64, digits: usize) -> String {
    let bytes = bytes.max(0.0);
    let unit = UNITS.iter().find(|(_, power)| bytes >= 2f64.powi(*power));
    match unit {
        Some((name, power)) if digits > 1 => {
            format!("{:.digits$} {name}", bytes / 2f64.powi(*power))
        }
        _ => Size(bytes as u64).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: f64 = 1_073_741_824.0;

    #[test]
    fn labels_of_a_flat_curve_differ() {
        assert_eq!(labels(&[2.0 * GIB, 1.0 * GIB, 0.0]), ["2.0 GiB", "1.0 GiB", "0 B"]);
        assert_eq!(
            labels(&[1.41 * GIB, 1.40 * GIB, 1.39 * GIB]),
            ["1.41 GiB", "1.40 GiB", "1.39 GiB"]
        );
        assert_eq!(labels(&[1.4342 * GIB, 1.4332 * GIB]), ["1.434 GiB", "1.433 GiB"]);
        assert_eq!(labels(&[GIB, GIB]), ["1.000 GiB", ""], "never the same twice");
    }

    #[test]
    fn a_round_size_is_told_as_it_is() {
        let mib = 1_048_576.0;
        assert_eq!([0.0, 512.0, 16.0 * mib].map(round), ["0 B", "512 B", "16.0 MiB"]);
        assert_eq!([1280.0 * mib, 1424.0 * mib].map(round), ["1.25 GiB", "1424.0 MiB"]);
    }

    proptest! {
        #[test]
        fn no_neighbours_read_the_same(mut values in proptest::collection::vec(0.0..1e15_f64, 0..8)) {
            values.sort_by(|a, b| b.total_cmp(a));
            let labels = labels(&values);
            prop_assert_eq!(labels.len(), values.len());
            prop_assert!(labels.windows(2).all(|pair| pair[0] != pair[1] || pair[1].is_empty()));
            prop_assert!(labels.iter().all(|label| label.len() <= 12));
        }
    }
}
