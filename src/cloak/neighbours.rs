//! The neighbour table: which links lead to which neighbour, and the next hop of a routing header.

use std::collections::BTreeMap;

use crate::name::Name;
use crate::wire::link::Route;
use crate::wire::location::Location;
use crate::wire::tag::Tag;

/// Number of a link of this node; never used twice.
pub type Link = u64;

/// Where a frame goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// It is for this node.
    Here,
    /// To this neighbour's link.
    Next(Link),
    /// Nowhere: it is dropped.
    Nowhere(NoHop),
}

/// Why a frame has no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoHop {
    /// It is meant for a neighbour, and this node is not the one.
    NotMine,
    /// Its hops are used up (R-O1).
    HopLimit,
}

/// Links by neighbour.
#[derive(Debug)]
pub struct Neighbours {
    own: Tag,
    links: BTreeMap<Tag, Vec<Link>>,
}

impl Neighbours {
    /// The table of the node called `own`.
    pub fn new(own: Name) -> Self {
        Self {
            own: own.tag(),
            links: BTreeMap::new(),
        }
    }

    /// A link came up. It is preferred from here on: a second link to a neighbour is made only when
    /// the first is in doubt.
    pub fn add(&mut self, neighbour: Name, link: Link) {
        self.links.entry(neighbour.tag()).or_default().push(link);
    }

    /// A link is gone. True when it was the neighbour's preferred one.
    pub fn remove(&mut self, neighbour: Name, link: Link) -> bool {
        let Some(links) = self.links.get_mut(&neighbour.tag()) else {
            return false;
        };
        let preferred = links.last() == Some(&link);
        links.retain(|known| *known != link);
        if links.is_empty() {
            self.links.remove(&neighbour.tag());
        }
        preferred
    }

    /// The link that carries traffic for a neighbour.
    pub fn preferred(&self, neighbour: Tag) -> Option<Link> {
        self.links.get(&neighbour)?.last().copied()
    }

    /// Every link to a neighbour, the preferred one last.
    pub fn all(&self, neighbour: Tag) -> &[Link] {
        self.links.get(&neighbour).map_or(&[], Vec::as_slice)
    }

    /// Prefers another link to the same neighbour, such as the one that answered last.
    pub fn prefer(&mut self, neighbour: Name, link: Link) {
        if let Some(links) = self.links.get_mut(&neighbour.tag())
            && let Some(at) = links.iter().position(|known| *known == link)
        {
            let link = links.remove(at);
            links.push(link);
        }
    }

    /// Where a frame with this routing header goes. Relays come with tree addresses; a header that
    /// names a neighbour ends at it.
    pub fn next_hop(&self, route: &Route) -> Hop {
        if route.to == self.own {
            return Hop::Here;
        }
        if route.hops == 0 {
            return Hop::Nowhere(NoHop::HopLimit);
        }
        match route.to_location {
            Location::Neighbour | Location::Tree { .. } => Hop::Nowhere(NoHop::NotMine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    fn name(seed: u8) -> Name {
        Identity::from_seed(&[seed; 32]).name()
    }

    #[test]
    fn the_newest_link_is_preferred_until_it_goes() {
        let mut table = Neighbours::new(name(1));
        let peer = name(2);
        table.add(peer, 10);
        table.add(peer, 11);
        assert_eq!(table.preferred(peer.tag()), Some(11));
        table.prefer(peer, 10);
        assert_eq!(table.preferred(peer.tag()), Some(10));
        assert!(table.remove(peer, 10));
        assert_eq!(table.preferred(peer.tag()), Some(11));
        assert!(table.remove(peer, 11));
        assert_eq!(table.preferred(peer.tag()), None);
    }

    #[test]
    fn only_what_is_addressed_here_is_delivered() {
        let table = Neighbours::new(name(1));
        let here = Route::neighbour(name(2).tag(), name(1).tag());
        assert_eq!(table.next_hop(&here), Hop::Here);
        let elsewhere = Route::neighbour(name(2).tag(), name(3).tag());
        assert_eq!(table.next_hop(&elsewhere), Hop::Nowhere(NoHop::NotMine));
    }
}
