//! Local nicknames of names, and groups of them; they exist nowhere but in this file (R-I4).

use std::collections::BTreeMap;

use crate::config::value::nearest;
use crate::name::NAME_CHARS;
use crate::name::Name;
use crate::wire::target::LABEL_MAX;

/// What stands for the embedded node in `via` and in `embedded.muses`.
pub const EMBEDDED: &str = "embedded";
/// What stands for the node around the embedded one in `[[embedded.grant]] peer`.
pub const OUTER: &str = "outer";
/// Characters of a name that are shown beside its alias: 92 bits of the key (R-I4 asks for 80).
const SHOWN_CHARS: usize = 20;

/// Aliases and groups; ASCII, in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    names: BTreeMap<String, Name>,
    groups: BTreeMap<String, Vec<Name>>,
}

impl Aliases {
    /// The name behind an alias.
    pub fn name(&self, alias: &str) -> Option<Name> {
        self.names.get(&alias.to_ascii_lowercase()).copied()
    }

    /// The members of a group, in the order of the file.
    pub fn group(&self, group: &str) -> Option<&[Name]> {
        let group = self.groups.get(&group.to_ascii_lowercase())?;
        Some(group.as_slice())
    }

    /// An alias of the name; the first by alphabet when it has several.
    pub fn alias_of(&self, name: &Name) -> Option<&str> {
        self.names
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(alias, _)| alias.as_str())
    }

    /// The name for people: alias and beginning of the name, or the whole name without an alias.
    pub fn label(&self, name: &Name) -> String {
        let mut text = name.to_string();
        match self.alias_of(name) {
            Some(alias) => {
                text.truncate(SHOWN_CHARS);
                format!("{alias} ({text}…)")
            }
            None => text,
        }
    }

    /// The node that an alias or a full name means; the error says what to write instead.
    pub fn one(&self, text: &str) -> Result<Name, String> {
        if let Some(name) = self.name(text) {
            return Ok(name);
        }
        if text.len() == NAME_CHARS {
            return text
                .parse()
                .map_err(|error| format!("\"{text}\" is no name: {error}"));
        }
        if self.group(text).is_some() {
            return Err(format!("\"{text}\" is a group: write one alias or name"));
        }
        if text.eq_ignore_ascii_case(EMBEDDED) {
            return Err(format!(
                "\"{EMBEDDED}\" stands for the embedded node only in `via`"
            ));
        }
        let near = nearest(text, self.names.keys().map(String::as_str));
        Err(match near {
            Some(near) => format!("unknown alias \"{text}\", did you mean \"{near}\"?"),
            None => format!("unknown alias \"{text}\": add it to [aliases], or write a full name"),
        })
    }

    /// The nodes that an alias, a group or a full name means.
    pub(super) fn several(&self, text: &str) -> Result<Vec<Name>, String> {
        if let Some(group) = self.group(text) {
            return Ok(group.to_vec());
        }
        self.one(text).map(|name| vec![name]).map_err(|message| {
            let groups = self.groups.keys().map(String::as_str);
            match nearest(text, groups) {
                Some(near) if text.len() != NAME_CHARS => {
                    format!("{message} (or the group \"{near}\"?)")
                }
                _ => message,
            }
        })
    }

    /// Adds an alias.
    pub(super) fn add_alias(&mut self, alias: &str, name: Name) -> Result<(), String> {
        let alias = self.free_word(alias)?;
        self.names.insert(alias, name);
        Ok(())
    }

    /// Adds a group.
    pub(super) fn add_group(&mut self, group: &str, members: Vec<Name>) -> Result<(), String> {
        let group = self.free_word(group)?;
        self.groups.insert(group, members);
        Ok(())
    }

    fn free_word(&self, word: &str) -> Result<String, String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if word.is_empty() || word.len() > LABEL_MAX || !word.bytes().all(fine) {
            return Err(format!(
                "write 1 to {LABEL_MAX} letters, digits, '-' or '_': it is a label of a host name"
            ));
        }
        let word = word.to_ascii_lowercase();
        if word == EMBEDDED || word == OUTER {
            return Err(format!("\"{word}\" is reserved, choose another word"));
        }
        if word.len() == NAME_CHARS {
            return Err(format!(
                "{NAME_CHARS} characters look like a full name, choose a shorter word"
            ));
        }
        if self.names.contains_key(&word) || self.groups.contains_key(&word) {
            return Err(format!(
                "\"{word}\" is there already: upper and lower case are the same, \
                 aliases and groups share their words"
            ));
        }
        Ok(word)
    }
}
