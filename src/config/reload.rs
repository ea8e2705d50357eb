//! What a running node can take over from a changed file, and what it cannot.

use crate::config::Config;

impl Config {
    /// The keys that differ in `new` and that a running node cannot change; a reload that would
    /// change any of them is refused as a whole (R-G1).
    ///
    /// Grants, services, routes, aliases, groups, `allow` and `deny` may differ. A changed alias that is
    /// used in `link.peers` or in a `[[forward]]` shows up under that key.
    pub fn reload_difference(&self, new: &Self) -> Vec<String> {
        let embedded_key = |config: &Self| config.embedded.as_ref().map(|e| e.key.clone());
        let (old_session, new_session) = (&self.session, &new.session);
        let same = [
            ("[identity] key", self.identity == new.identity),
            ("[network] id", self.network.id == new.network.id),
            (
                "[network] key_file",
                self.network.key_file == new.network.key_file,
            ),
            ("[link] listen", self.link.listen == new.link.listen),
            ("[link] peers", self.link.peers == new.link.peers),
            ("[link] announce", self.link.announce == new.link.announce),
            ("[cloak]", self.cloak == new.cloak),
            ("[proxy] listen", self.proxy.listen == new.proxy.listen),
            (
                "[proxy] allow_uids",
                self.proxy.allow_uids == new.proxy.allow_uids,
            ),
            ("[proxy] from", self.proxy.from == new.proxy.from),
            ("[proxy] users", self.proxy.users == new.proxy.users),
            ("[[forward]]", self.forwards == new.forwards),
            (
                "[embedded] key, or the table itself",
                embedded_key(self) == embedded_key(new),
            ),
            (
                "[session] suites or profile",
                old_session.suites == new_session.suites
                    && old_session.profile == new_session.profile,
            ),
            (
                "[session] max_suspend",
                old_session.max_suspend == new_session.max_suspend,
            ),
            (
                "[session] open_timeout",
                old_session.open_timeout == new_session.open_timeout,
            ),
            (
                "[session] ack_every",
                old_session.ack_every == new_session.ack_every,
            ),
            (
                "[session] ack_delay",
                old_session.ack_delay == new_session.ack_delay,
            ),
            ("[session] max_j", old_session.max_j == new_session.max_j),
            (
                "[session] on_memory_pressure",
                old_session.on_memory_pressure == new_session.on_memory_pressure,
            ),
            ("[limits] memory", self.limits == new.limits),
            ("[control] socket", self.control == new.control),
        ];
        same.into_iter()
            .filter(|(_, same)| !same)
            .map(|(key, _)| key.to_owned())
            .collect()
    }
}
