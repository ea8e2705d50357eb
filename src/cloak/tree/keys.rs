//! What the directory asks of the tree.

use crate::cloak::tree::{Range, Tree};
use crate::name::Name;
use crate::wire::tag::Tag;

impl Tree {
    /// The keys that belong to this node, rising and apart: those of its whole ranges that no child has. At
    /// the root that is also what no child on its seat has.
    pub fn own_keys(&self) -> Vec<Range> {
        let seat = self.office.as_ref().map(|_| Range::ALL);
        let Some(whole) = seat.or(self.own.range) else {
            return Vec::new();
        };
        let mut taken: Vec<Range> = self
            .children
            .live()
            .filter_map(|(_, child)| {
                let above = if child.seat { seat } else { self.own.range };
                above?.part(child.part)
            })
            .collect();
        taken.sort_unstable_by_key(|range| range.first);
        let mut own = Vec::new();
        let mut next = Some(whole.first);
        for range in taken {
            let Some(first) = next else { break };
            if let Some(last) = range.first.checked_sub(1).filter(|last| *last >= first) {
                own.push(Range { first, last });
            }
            next = range.last.checked_add(1).map(|after| after.max(first));
        }
        if let Some(first) = next.filter(|first| *first <= whole.last) {
            own.push(Range {
                first,
                last: whole.last,
            });
        }
        own
    }

    /// Who would take the root's place first, if this node is the root and that one is its neighbour.
    pub fn heir(&self) -> Option<Name> {
        self.office.as_ref()?;
        let deputies = self.own.charter.deputies.iter();
        let names = deputies.filter_map(|key| Name::from_bytes(*key).ok());
        names.into_iter().find(|name| self.children.has(name))
    }

    /// The neighbour with this tag.
    pub fn neighbour(&self, tag: Tag) -> Option<Name> {
        self.neighbours
            .keys()
            .find(|name| name.tag() == tag)
            .copied()
    }

    /// Whether the neighbour with this tag is the parent or a child.
    pub fn is_tied(&self, tag: Tag) -> bool {
        let children = self.children.live().map(|(name, _)| *name);
        let mut ties = children.chain(self.own.parent);
        ties.any(|name| name.tag() == tag)
    }

    /// Whether a neighbour is the parent or a child.
    pub fn is_beside(&self, name: &Name) -> bool {
        self.own.parent == Some(*name) || self.children.has(name)
    }
}
