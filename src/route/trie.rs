//! A forest of radix tries over path bytes, all in one array.

use std::ops::Range;

/// A place for a router: everything below a prefix, or one path alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Span {
    /// `Path`.
    Exact,
    /// `PathPrefix`; with an empty prefix, every path.
    Below,
}

/// Tries by their root's number.
#[derive(Debug, Default)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    labels: Vec<u8>,
    ranks: Vec<u32>,
}

#[derive(Debug)]
struct Node {
    label: Range<usize>,
    /// By first byte of the child's label, sorted.
    children: Box<[(u8, usize)]>,
    /// Ranks of routers whose prefix ends here, ascending; a range of `Forest::ranks`.
    below: Range<usize>,
    /// Ranks of routers whose path ends here.
    exact: Range<usize>,
    /// The nearest node above with routers `below` it.
    above: Option<usize>,
}

/// Where a walk ended: the lists of ranks that may match.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hit {
    exact: Option<usize>,
    below: Option<usize>,
}

/// A slice of the sorted places that share their first `start` bytes.
struct Job {
    places: Range<usize>,
    start: usize,
    parent: Option<usize>,
}

impl Forest {
    /// Adds a trie and returns its root. The places need no order.
    pub(super) fn add(&mut self, mut places: Vec<(&[u8], Span, u32)>) -> usize {
        places.sort_unstable();
        places.dedup();
        let root = self.nodes.len();
        let mut jobs = vec![Job { places: 0..places.len(), start: 0, parent: None }];
        // A loop and not a recursion: a path may be thousands of prefixes deep.
        while let Some(job) = jobs.pop() {
            let slice = places.get(job.places.clone()).unwrap_or_default();
            let (Some(first), Some(last)) = (slice.first(), slice.last()) else {
                self.nodes.push(Node::empty());
                continue;
            };
            let common = common_length(first.0, last.0);
            let own = slice.iter().take_while(|(path, ..)| path.len() == common).count();
            let number = self.nodes.len();
            let node = self.node(first.0.get(job.start..common).unwrap_or_default(), slice, own);
            let above = job
                .parent
                .and_then(|parent| self.nodes.get(parent))
                .and_then(|parent| if parent.below.is_empty() { parent.above } else { job.parent });
            self.nodes.push(Node { above, ..node });
            self.link(job.parent, number, first.0.get(job.start).copied());
            let mut from = job.places.start + own;
            for group in slice
                .get(own..)
                .unwrap_or_default()
                .chunk_by(|left, right| left.0.get(common) == right.0.get(common))
            {
                let to = from + group.len();
                jobs.push(Job { places: from..to, start: common, parent: Some(number) });
                from = to;
            }
        }
        root
    }

    fn node(&mut self, label: &[u8], slice: &[(&[u8], Span, u32)], own: usize) -> Node {
        let mut ranks = |span: Span| {
            let from = self.ranks.len();
            let own = slice.iter().take(own);
            self.ranks.extend(own.filter(|place| place.1 == span).map(|place| place.2));
            from..self.ranks.len()
        };
        let (exact, below) = (ranks(Span::Exact), ranks(Span::Below));
        let from = self.labels.len();
        self.labels.extend_from_slice(label);
        Node { label: from..self.labels.len(), children: Box::default(), below, exact, above: None }
    }

    fn link(&mut self, parent: Option<usize>, child: usize, first: Option<u8>) {
        let parent = parent.and_then(|parent| self.nodes.get_mut(parent));
        if let (Some(parent), Some(first)) = (parent, first) {
            let mut children = std::mem::take(&mut parent.children).into_vec();
            let at = children.partition_point(|(byte, _)| *byte < first);
            children.insert(at, (first, child));
            parent.children = children.into_boxed_slice();
        }
    }

    /// Walks down as far as the path goes.
    pub(super) fn walk(&self, root: usize, path: &[u8]) -> Hit {
        let mut hit = Hit::default();
        let mut number = root;
        let mut rest = path;
        while let Some(node) = self.nodes.get(number) {
            let label = self.labels.get(node.label.clone()).unwrap_or_default();
            let Some(after) = rest.strip_prefix(label) else { break };
            rest = after;
            if !node.below.is_empty() {
                hit.below = Some(number);
            }
            let Some(first) = rest.first() else {
                hit.exact = Some(number);
                break;
            };
            let Ok(at) = node.children.binary_search_by_key(first, |(byte, _)| *byte) else {
                break;
            };
            let Some((_, child)) = node.children.get(at) else { break };
            number = *child;
        }
        hit
    }

    /// The lowest rank of a hit that is not below `from`.
    pub(super) fn next(&self, hit: Hit, from: u32) -> Option<u32> {
        let exact = hit.exact.and_then(|number| self.nodes.get(number));
        let mut least = exact.and_then(|node| self.least(&node.exact, from));
        let mut below = hit.below;
        while let Some(node) = below.and_then(|number| self.nodes.get(number)) {
            least = match (least, self.least(&node.below, from)) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            below = node.above;
        }
        least
    }

    fn least(&self, list: &Range<usize>, from: u32) -> Option<u32> {
        let list = self.ranks.get(list.clone())?;
        list.get(list.partition_point(|rank| *rank < from)).copied()
    }
}

impl Node {
    fn empty() -> Self {
        Self { label: 0..0, children: Box::default(), below: 0..0, exact: 0..0, above: None }
    }
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(forest: &Forest, root: usize, path: &str) -> Vec<u32> {
        let hit = forest.walk(root, path.as_bytes());
        let mut from = 0;
        std::iter::from_fn(|| {
            let rank = forest.next(hit, from)?;
            from = rank + 1;
            Some(rank)
        })
        .collect()
    }

    #[test]
    fn a_walk_finds_all_prefixes_and_the_exact_path_in_rank_order() {
        let mut forest = Forest::default();
        let places: &[(&str, Span, u32)] = &[
            ("", Span::Below, 9),
            ("/api", Span::Below, 4),
            ("/api", Span::Exact, 7),
            ("/api/users", Span::Below, 1),
            ("/app", Span::Below, 2),
            ("/apx", Span::Exact, 3),
            ("/api", Span::Below, 5),
        ];
        forest.add(vec![(b"/other", Span::Below, 0)]);
        let root = forest.add(places.iter().map(|(p, s, r)| (p.as_bytes(), *s, *r)).collect());

        assert_eq!(ranks(&forest, root, "/api/users/7"), [1, 4, 5, 9]);
        assert_eq!(ranks(&forest, root, "/api"), [4, 5, 7, 9]);
        assert_eq!(ranks(&forest, root, "/apix"), [4, 5, 9]);
        assert_eq!(ranks(&forest, root, "/apx"), [3, 9]);
        assert_eq!(ranks(&forest, root, "/apxx"), [9]);
        assert_eq!(ranks(&forest, root, ""), [9]);
    }

    #[test]
    fn deep_nesting_needs_no_deep_stack() {
        let long = "/".repeat(16_000);
        let mut forest = Forest::default();
        let places = (1u32..=16_000).map(|n| (&long.as_bytes()[..n as usize], Span::Below, n));
        let root = forest.add(places.collect());

        assert_eq!(forest.next(forest.walk(root, long.as_bytes()), 0), Some(1));
    }
}
