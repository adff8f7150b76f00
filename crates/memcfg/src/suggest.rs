//! Did you mean.

/// The candidate that `wrong` was most likely meant to be, or none when nothing is near.
///
/// Near is an edit distance (insert, remove, replace, swap) of at most 2, or of a third of the length for long words.
/// Among equals the one that reads most alike from its start wins.
pub(crate) fn closest<'a>(
    wrong: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance costs length times length; what is this long is no slip of the fingers.
    if wrong.len() > 100 {
        return None;
    }
    let lower = wrong.to_lowercase();
    let limit = (lower.chars().count() / 3).max(2);
    candidates
        .filter_map(|candidate| {
            let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
            // Two edits away from a word of two letters is any word.
            let near = distance <= limit && distance < candidate.chars().count();
            let alike = strsim::jaro_winkler(&lower, candidate);
            near.then_some((distance, alike, candidate))
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(b.2)))
        .map(|(_, _, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let words = ["warning", "critical", "emergency"];
        assert_eq!(closest("wraning", words.into_iter()), Some("warning"));
        assert_eq!(closest("Critcal", words.into_iter()), Some("critical"));
        assert_eq!(closest("hold", words.into_iter()), None);
        assert_eq!(closest("x", ["ab"].into_iter()), None);
    }
}
