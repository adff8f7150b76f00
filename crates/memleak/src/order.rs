//! Numbers as integers of the same order: integers are compared and sorted faster.

/// An integer in the place of a number in the total order of IEEE 754, as `f64::total_cmp` compares.
pub(crate) fn key(value: f64) -> i64 {
    let bits = value.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// The number of a [`key`].
pub(crate) fn value(key: i64) -> f64 {
    f64::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
}
