//! What the daemon tells about the overlay: the data behind `muses status`, `map`, `lookup` and `trace`.
//!
//! The JSON form is a contract with scripts: fields may be added, none may go or change its meaning.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::location::Location;

/// A node's part in the overlay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OverlayStatus {
    /// Directions of each place in the tree.
    pub degree: u32,
    /// Whether the node carries frames of others and lets them join below it.
    pub relays: bool,
    /// Where it hangs; null while it has no place.
    pub place: Option<PlaceStatus>,
    /// Former places of its own that still work.
    pub former: Vec<PlaceStatus>,
    /// Name of the root.
    pub root: Option<String>,
    /// Its alias here, if it has one.
    pub root_alias: Option<String>,
    /// Milliseconds since a sign of life of the root came; 0 at the root.
    pub root_heard_ms: u64,
    /// Nodes of the tree: exact at the root, to a power of two elsewhere.
    pub size: u64,
    /// Name of the parent; null at the root.
    pub parent: Option<String>,
    /// Its alias here, if it has one.
    pub parent_alias: Option<String>,
    /// Nodes that hang below it directly.
    pub children: u64,
    /// Nodes that it has links to.
    pub neighbours: Vec<NeighbourStatus>,
    /// What it carried for others.
    pub relay: RelayStatus,
    /// What it keeps of the directory; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<DirectoryStatus>,
}

/// A place in the tree. Its text is `/` and the slots from the root downwards, the root being `/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlaceStatus {
    /// The tree: sixteen hexadecimal digits.
    pub tree: String,
    /// Term of office of its root.
    pub term: u64,
    /// Steps from the root.
    pub depth: u64,
    /// Slot and lease of each step from the root.
    pub path: Vec<(u32, u32)>,
}

impl PlaceStatus {
    /// The place behind a location; none for a location that is no place.
    pub fn of(location: &Location) -> Option<Self> {
        match location {
            Location::Neighbour => None,
            Location::Tree { tree, term, path } => Some(Self {
                tree: format!("{tree:016x}"),
                term: *term,
                depth: path.len() as u64,
                path: path.clone(),
            }),
        }
    }
}

impl fmt::Display for PlaceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str("/");
        }
        self.path
            .iter()
            .try_for_each(|(slot, _)| write!(f, "/{slot}"))
    }
}

/// One neighbour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NeighbourStatus {
    /// Its name.
    pub name: String,
    /// Its alias here, if it has one.
    pub alias: Option<String>,
    /// `parent`, `child`, `extra` (a link across the tree) or `shortcut` (only for sessions between the two).
    pub role: String,
    /// `good`, or `doubtful`: every link owes an answer for too long already.
    pub health: String,
    /// Milliseconds since a frame of it arrived and opened.
    pub last_answer_ms: u64,
    /// Shortest round trip of a last ping, milliseconds; null before the first answer.
    pub rtt_ms: Option<f64>,
    /// Links to it.
    pub links: u64,
    /// Where it hangs, as far as it is known.
    pub place: Option<PlaceStatus>,
}

/// Counters of a relay since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RelayStatus {
    /// Frames of others passed on.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them with a congestion mark, of this node or one before.
    pub marked: u64,
    /// Frames dropped because too much waited.
    pub overflowed: u64,
    /// Frames dropped because a neighbour sent too many per second.
    pub over_rate: u64,
    /// Bytes that wait now.
    pub waiting: u64,
}

/// A node's share of the directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DirectoryStatus {
    /// Records kept, its own included where it is responsible for it.
    pub records: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Number of the latest record about this node, microseconds since 1970; 0 if there is none.
    pub seq: u64,
    /// Look-ups of this node under way.
    pub lookups: u64,
    /// Requests and answers of others that it passed on.
    pub relayed: u64,
    /// Messages dropped or refused at a limit.
    pub limited: u64,
}

/// How the packets of a session go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WayStatus {
    /// `direct`, `relayed`, or `none` while no link carries it.
    pub kind: String,
    /// The neighbour to which they go first, when relayed.
    pub by: Option<String>,
    /// Its alias here, if it has one.
    pub by_alias: Option<String>,
    /// Links that the peer's last packet took, as the relays tell.
    pub hops: Option<u64>,
    /// Where the peer hangs, as far as it is known.
    pub place: Option<PlaceStatus>,
}

/// What the directory says of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FoundStatus {
    /// Its name.
    pub name: String,
    /// Its alias here, if it has one.
    pub alias: Option<String>,
    /// Where it hangs, the best place first.
    pub places: Vec<PlaceStatus>,
    /// Where links to it can be made, as `host:port`, if it says so.
    pub endpoints: Vec<String>,
    /// Number of the record, microseconds since 1970: the newest one counts.
    pub seq: u64,
    /// Serial of its certificate.
    pub serial: u64,
    /// First and last second in which the certificate holds, since 1970.
    pub not_before: u64,
    /// See `not_before`.
    pub not_after: u64,
}

/// One step of a trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HopStatus {
    /// Links from here, the first neighbour being 1.
    pub hop: u32,
    /// Who answered; null when nobody did.
    pub name: Option<String>,
    /// Its alias here, if it has one.
    pub alias: Option<String>,
    /// Where it hangs, as it says.
    pub place: Option<PlaceStatus>,
    /// Milliseconds from the question to the answer.
    pub ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_short_text_and_a_tree_that_json_can_hold() {
        let path = vec![(3, 1_000_000), (15, 7)];
        let location = Location::Tree {
            tree: u64::MAX,
            term: 2,
            path,
        };
        let place = PlaceStatus::of(&location).unwrap();
        assert_eq!(place.to_string(), "/3/15");
        assert_eq!(
            serde_json::to_string(&place).unwrap(),
            r#"{"tree":"ffffffffffffffff","term":2,"depth":2,"path":[[3,1000000],[15,7]]}"#
        );
        assert_eq!(PlaceStatus::default().to_string(), "/");
        assert_eq!(PlaceStatus::of(&Location::Neighbour), None);
    }

    #[test]
    fn json_has_the_fields_of_the_contract_and_leaves_out_a_directory_that_is_not_there() {
        let overlay = OverlayStatus {
            neighbours: vec![NeighbourStatus::default()],
            ..OverlayStatus::default()
        };
        let mut json = serde_json::to_value(&overlay).unwrap();
        let fields = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        let mut all = vec![
            "degree",
            "relays",
            "place",
            "former",
            "root",
            "root_alias",
            "root_heard_ms",
            "size",
            "parent",
            "parent_alias",
            "children",
            "neighbours",
            "relay",
        ];
        all.sort_unstable();
        assert_eq!(fields(&json), all);
        for field in [
            "name",
            "alias",
            "role",
            "health",
            "last_answer_ms",
            "rtt_ms",
            "links",
            "place",
        ] {
            assert!(json["neighbours"][0].get(field).is_some(), "{field}");
        }
        for field in ["frames", "bytes", "marked", "overflowed", "over_rate"] {
            assert!(json["relay"][field].is_u64(), "{field}");
        }
        json = serde_json::to_value(OverlayStatus {
            directory: Some(DirectoryStatus::default()),
            ..overlay
        })
        .unwrap();
        assert_eq!(json["directory"]["records"], 0);
        assert_eq!(json["directory"]["bytes"], 0);
    }
}
