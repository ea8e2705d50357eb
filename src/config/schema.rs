//! Every table of `proxy.toml` and its keys.

/// How often a table may stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Once: `[table]`.
    One,
    /// Once, with keys that the user invents.
    Free,
    /// Any number of times: `[[table]]`.
    Many,
}

/// A table that the file may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its path, with dots.
    pub path: &'static str,
    /// How often it may stand.
    pub shape: Shape,
    /// Its keys, without the tables inside it.
    pub keys: &'static [&'static str],
}

impl Table {
    /// The header as it stands in the file.
    pub fn header(&self) -> String {
        match self.shape {
            Shape::One | Shape::Free => format!("[{}]", self.path),
            Shape::Many => format!("[[{}]]", self.path),
        }
    }
}

const fn table(path: &'static str, shape: Shape, keys: &'static [&'static str]) -> Table {
    Table { path, shape, keys }
}

/// Every table, in the order of the shipped file.
pub const TABLES: [Table; 17] = [
    table("identity", Shape::One, &["key"]),
    table("network", Shape::One, &["id", "key_file", "allow", "deny"]),
    table("link", Shape::One, &["listen", "peers", "announce"]),
    table(
        "cloak",
        Shape::One,
        &["relay", "degree", "roots", "shortcuts"],
    ),
    table(
        "proxy",
        Shape::One,
        &["listen", "allow_uids", "from", "users"],
    ),
    table("aliases", Shape::Free, &[]),
    table("groups", Shape::Free, &[]),
    table("route", Shape::Many, &["match", "via"]),
    table(
        "forward",
        Shape::Many,
        &["listen", "allow_uids", "from", "to", "via"],
    ),
    table("forwarder", Shape::One, &[]),
    table("forwarder.service", Shape::Many, &["name", "to"]),
    table(
        "forwarder.grant",
        Shape::Many,
        &["peer", "service", "to", "max_channels", "opens_per_s"],
    ),
    table("embedded", Shape::One, &["key"]),
    table(
        "embedded.grant",
        Shape::Many,
        &["peer", "to", "max_channels", "opens_per_s"],
    ),
    table(
        "session",
        Shape::One,
        &[
            "suites",
            "profile",
            "max_suspend",
            "open_timeout",
            "ack_every",
            "ack_delay",
            "max_j",
            "on_memory_pressure",
        ],
    ),
    table("limits", Shape::One, &["memory"]),
    table("control", Shape::One, &["socket"]),
];
