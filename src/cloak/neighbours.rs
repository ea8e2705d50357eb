//! The neighbour table: which links lead to which neighbour.

use std::collections::BTreeMap;

use crate::name::Name;
use crate::wire::tag::Tag;

/// Number of a link of this node; never used twice.
pub type Link = u64;

/// Links by neighbour.
#[derive(Debug, Default)]
pub struct Neighbours {
    links: BTreeMap<Tag, Vec<Link>>,
}

impl Neighbours {
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
        let mut table = Neighbours::default();
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
}
