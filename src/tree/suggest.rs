//! The nearest known name to one that nobody knows.

/// The candidate that `name` was most likely meant to be; `None` when none is near.
pub fn nearest<'c, I>(name: &str, candidates: I) -> Option<&'c str>
where
    I: IntoIterator<Item = &'c str>,
{
    let lower = name.to_lowercase();
    // Names come from strangers: the table below must stay small.
    if lower.chars().count() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.to_lowercase();
            let distance = distance(&lower, &other);
            is_near(distance, &lower, &other).then_some((distance, candidate))
        })
        .min_by_key(|(distance, candidate)| (*distance, candidate.len()))
        .map(|(_, candidate)| candidate)
}

/// Up to a third of the letters may differ, or one name is a long beginning of the other.
fn is_near(distance: usize, one: &str, two: &str) -> bool {
    let longest = one.len().max(two.len());
    let shortest = one.len().min(two.len());
    distance * 3 <= longest.max(3)
        || (shortest >= 4 && (one.starts_with(two) || two.starts_with(one)))
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=two.len()).collect();
    let mut previous = '\0';
    for (row, a) in one.chars().enumerate() {
        let mut current = vec![row + 1];
        let mut left_letter = '\0';
        for (column, b) in two.iter().copied().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let mut cost = (at(&last, column) + usize::from(a != b))
                .min(at(&last, column + 1) + 1)
                .min(at(&current, column) + 1);
            if row > 0 && column > 0 && a == left_letter && previous == b {
                cost = cost.min(at(&before_last, column - 1) + 1);
            }
            current.push(cost);
            left_letter = b;
        }
        before_last = std::mem::replace(&mut last, current);
        previous = a;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let known = ["rule", "service", "entryPoints", "middlewares", "priority", "tls"];
        let cases = [
            ("rul", Some("rule")),
            ("Rlue", Some("rule")),
            ("servcie", Some("service")),
            ("entrypoint", Some("entryPoints")),
            ("middleware", Some("middlewares")),
            ("tsl", Some("tls")),
            ("nosuchfield", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
    }

    #[test]
    fn a_swap_of_neighbours_counts_once() {
        assert_eq!(distance("port", "prot"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
