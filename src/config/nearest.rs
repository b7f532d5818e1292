//! Finds the known word that was probably meant.

/// The known word that is nearest to `word`, if it is near enough to be a typo: at most one wrong letter in
/// three.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > 64 {
        return None;
    }
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or all known words.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(candidate) => format!("did you mean \"{candidate}\"?"),
        None => format!("known here: {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// All known words, and the one that was probably meant.
pub(super) fn choices_hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let all = known.clone().into_iter().collect::<Vec<_>>().join(", ");
    match nearest(word, known) {
        Some(candidate) => format!("did you mean \"{candidate}\"? known here: {all}"),
        None => format!("known here: {all}"),
    }
}

/// Damerau-Levenshtein distance (optimal string alignment): insertions, deletions, replacements
/// and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, a) in a.chars().enumerate() {
        let mut this = vec![row + 1];
        for (column, &letter) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (at(&last, column + 1) + 1)
                .min(at(&this, column) + 1)
                .min(at(&last, column) + usize::from(a != letter));
            let left = column.checked_sub(1).and_then(|left| b.get(left));
            if left == Some(&a) && previous == Some(letter) {
                cost = cost.min(at(&before, column - 1) + 1);
            }
            this.push(cost);
        }
        before = std::mem::replace(&mut last, this);
        previous = Some(a);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_typos() {
        assert_eq!(distance("segment", "segment"), 0);
        assert_eq!(distance("segmnet", "segment"), 1);
        assert_eq!(distance("segmen", "segment"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_word_far_from_all_others_has_no_nearest() {
        assert_eq!(nearest("zebra", ["segment", "audio"]), None);
        assert_eq!(nearest("adio", ["segment", "audio"]), Some("audio"));
    }
}
