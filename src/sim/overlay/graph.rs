//! Who dials whom, and how short the way between two nodes could be.

use std::collections::{BTreeSet, VecDeque};

use crate::random::Random;

/// How a joiner chooses the nodes that it dials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graph {
    /// Uniformly among the nodes that are there.
    Random,
    /// By their number of links, after Barabási and Albert: a few nodes get very many.
    Preferential,
}

impl Graph {
    /// At most `count` different ones of the nodes `among`; `ends` has each of them once for every link it has.
    pub(super) fn choose(
        self,
        among: &[usize],
        ends: &[usize],
        count: usize,
        random: &mut Random,
    ) -> Vec<usize> {
        let count = count.min(among.len());
        let from = match self {
            Self::Preferential if ends.len() > count => ends,
            Self::Random | Self::Preferential => among,
        };
        let mut chosen = Vec::with_capacity(count);
        let mut tries = 0;
        while chosen.len() < count {
            // A hub may hold nearly all ends: then the rest is chosen evenly.
            let pool = if tries < 64 * count { from } else { among };
            tries += 1;
            let Some(node) = pick(pool, random) else {
                break;
            };
            if !chosen.contains(&node) {
                chosen.push(node);
            }
        }
        chosen
    }
}

/// One of `pool`.
pub(super) fn pick(pool: &[usize], random: &mut Random) -> Option<usize> {
    let bound = u64::try_from(pool.len()).ok().filter(|len| *len > 0)?;
    pool.get(usize::try_from(random.below(bound)).ok()?)
        .copied()
}

/// Links on the shortest way from `from` to every node; none where there is no way.
pub(super) fn distances<'a, N: IntoIterator<Item = usize>>(
    nodes: usize,
    from: usize,
    neighbours: impl Fn(usize) -> N + 'a,
) -> Vec<Option<u32>> {
    let mut found = vec![None; nodes];
    if let Some(start) = found.get_mut(from) {
        *start = Some(0);
    }
    let mut waiting = VecDeque::from([from]);
    while let Some(node) = waiting.pop_front() {
        let next = found.get(node).copied().flatten().map(|hops| hops + 1);
        for neighbour in neighbours(node) {
            if let Some(unknown @ None) = found.get_mut(neighbour) {
                *unknown = next;
                waiting.push_back(neighbour);
            }
        }
    }
    found
}

/// Pairs of different nodes: every one of them if there are no more than `most`, else `most` by chance.
pub(super) fn pairs(nodes: &[usize], most: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let all = nodes.len().saturating_mul(nodes.len().saturating_sub(1));
    if all <= most {
        let every = nodes
            .iter()
            .flat_map(|a| nodes.iter().map(move |b| (*a, *b)));
        return every.filter(|(a, b)| a != b).collect();
    }
    let mut chosen = BTreeSet::new();
    while chosen.len() < most {
        if let (Some(a), Some(b)) = (pick(nodes, random), pick(nodes, random))
            && a != b
        {
            chosen.insert((a, b));
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grow(graph: Graph, nodes: usize, links: usize) -> Vec<Vec<usize>> {
        let mut random = Random::from_number(7);
        let mut table: Vec<Vec<usize>> = vec![Vec::new()];
        let mut ends = Vec::new();
        for node in 1..nodes {
            let among: Vec<usize> = (0..node).collect();
            let chosen = graph.choose(&among, &ends, links, &mut random);
            assert_eq!(chosen.len(), links.min(node));
            table.push(Vec::new());
            for other in chosen {
                table[node].push(other);
                table[other].push(node);
                ends.extend([node, other]);
            }
        }
        table
    }

    #[test]
    fn a_preferential_graph_has_hubs_and_a_random_one_has_not() {
        let most = |graph| grow(graph, 2_000, 3).iter().map(Vec::len).max().unwrap();
        // The expected maxima are near 3·ln 2000 + 3 = 26 and 3·√2000 = 134.
        assert!(most(Graph::Random) < 40);
        assert!(most(Graph::Preferential) > 70);
    }

    #[test]
    fn distances_are_those_of_a_ring() {
        let ring = |node: usize| [(node + 9) % 10, (node + 1) % 10];
        let found = distances(11, 3, ring);
        let expected = [3, 2, 1, 0, 1, 2, 3, 4, 5, 4].map(Some);
        assert_eq!(found[..10], expected);
        assert_eq!(found[10], None);
    }

    #[test]
    fn pairs_are_all_or_as_many_as_asked() {
        let nodes: Vec<usize> = (0..10).collect();
        let mut random = Random::from_number(1);
        assert_eq!(pairs(&nodes, 90, &mut random).len(), 90);
        let some = pairs(&nodes, 30, &mut random);
        assert_eq!(some.len(), 30);
        assert!(some.iter().all(|(a, b)| a != b));
        assert!(pairs(&nodes[..1], 30, &mut random).is_empty());
    }
}
