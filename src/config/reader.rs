//! The text of the file as tables and values with lines; what the schema does not know is refused.
//!
//! Problems are collected here, so that one look shows them all. A value that is wrong counts as
//! not set; the problem keeps the configuration from being used.

use std::ops::RangeInclusive;

use toml::de::{DeTable, DeValue};

use crate::config::error::ConfigError;
use crate::config::error::Problem;
use crate::config::schema::Shape;
use crate::config::schema::TABLES;
use crate::config::schema::Table;
use crate::config::value::nearest;

/// A table of the file, or the absence of one that could stand there.
#[derive(Clone, Copy)]
pub(super) struct Section<'d> {
    table: &'static Table,
    line: usize,
    entries: Option<&'d DeTable<'d>>,
}

/// A value and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Entry<'d> {
    pub(super) key: &'d str,
    pub(super) line: usize,
    pub(super) value: &'d DeValue<'d>,
}

impl Section<'_> {
    /// Whether the table stands in the file, be it by its header or by a table inside it.
    pub(super) const fn is_present(&self) -> bool {
        self.entries.is_some()
    }
}

/// Reads values and collects problems.
pub(super) struct Reader {
    line_starts: Vec<usize>,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        Self {
            line_starts: text.match_indices('\n').map(|(at, _)| at + 1).collect(),
            problems: Vec::new(),
        }
    }

    /// Reports a text that is no TOML.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let line = self.line(error.span().map_or(0, |span| span.start));
        let message = error.message().trim().replace('\n', ", ");
        self.problems.push(Problem {
            line,
            text: format!("this is not TOML: {message}"),
        });
    }

    /// Reports every table and key of the document that the schema does not list.
    pub(super) fn check_tables(&mut self, root: &DeTable<'_>) {
        let known: Vec<&str> = children("").map(|table| table.path).collect();
        for (key, value) in root {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let line = self.line(key.span().start);
            let text = if value.get_ref().is_table() {
                format!("unknown table [{name}], {}", suggestion(name, &known))
            } else if is_array_of_tables(value.get_ref()) {
                format!("unknown table [[{name}]], {}", suggestion(name, &known))
            } else {
                format!(
                    "unknown key `{name}` outside any table, {}",
                    home_of(name).unwrap_or_else(|| suggestion(name, &known))
                )
            };
            self.problems.push(Problem { line, text });
        }
    }

    /// The table `path`, which may stand once.
    pub(super) fn one<'d>(&mut self, root: &'d DeTable<'d>, path: &str) -> Section<'d> {
        let mut section = Section {
            table: table(path),
            line: 1,
            entries: None,
        };
        let Some((line, value)) = self.find(root, path) else {
            return section;
        };
        section.line = line;
        if let DeValue::Table(entries) = value {
            section.entries = Some(entries);
            self.check_keys(&section);
        } else {
            self.wrong_shape(section.table, line, value);
        }
        section
    }

    /// Every table `path`, in the order of the file.
    pub(super) fn many<'d>(&mut self, root: &'d DeTable<'d>, path: &str) -> Vec<Section<'d>> {
        let table = table(path);
        let Some((line, value)) = self.find(root, path) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            self.wrong_shape(table, line, value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            let line = self.line(item.span().start);
            if let DeValue::Table(entries) = item.get_ref() {
                let section = Section {
                    table,
                    line,
                    entries: Some(entries),
                };
                self.check_keys(&section);
                sections.push(section);
            } else {
                self.wrong_shape(table, line, item.get_ref());
            }
        }
        sections
    }

    /// Every entry of a table whose keys the user invents, in the order of the file.
    pub(super) fn entries<'d>(&self, section: &Section<'d>) -> Vec<Entry<'d>> {
        let mut entries: Vec<Entry<'d>> = section
            .entries
            .into_iter()
            .flat_map(|entries| entries.iter())
            .map(|(key, value)| Entry {
                key: key.get_ref().as_ref(),
                line: self.line(key.span().start),
                value: value.get_ref(),
            })
            .collect();
        entries.sort_by_key(|entry| entry.line);
        entries
    }

    /// The entry `key`, if set.
    pub(super) fn entry<'d>(&self, section: &Section<'d>, key: &str) -> Option<Entry<'d>> {
        let (key, value) = section.entries?.get_key_value(key)?;
        Some(Entry {
            key: key.get_ref().as_ref(),
            line: self.line(value.span().start),
            value: value.get_ref(),
        })
    }

    /// The text `key`, read by `parse`, whose error says what to write instead.
    pub(super) fn text<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.entry(section, key)?;
        let read = match entry.value.as_str() {
            Some(text) => parse(text),
            None => Err(not("a text in quotes", entry.value)),
        };
        self.keep(section, key, entry.line, read)
    }

    /// The texts of `key`, a list or a single text, each read by `parse`.
    pub(super) fn list<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let entry = self.entry(section, key)?;
        Some(self.list_of(section, entry, parse))
    }

    /// The texts of an entry, a list or a single text, each read by `parse`.
    pub(super) fn list_of<T>(
        &mut self,
        section: &Section<'_>,
        entry: Entry<'_>,
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut parse = |value: &DeValue<'_>| match value.as_str() {
            Some(text) => parse(text),
            None => Err(not("a list of texts in quotes", value)),
        };
        let mut values = Vec::new();
        if let Some(items) = entry.value.as_array() {
            for item in items.iter() {
                let line = self.line(item.span().start);
                values.extend(self.keep(section, entry.key, line, parse(item.get_ref())));
            }
        } else {
            values.extend(self.keep(section, entry.key, entry.line, parse(entry.value)));
        }
        values
    }

    /// The whole number `key` within `range`.
    pub(super) fn number(
        &mut self,
        section: &Section<'_>,
        key: &str,
        range: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let entry = self.entry(section, key)?;
        let read = number(entry.value, range);
        self.keep(section, key, entry.line, read)
    }

    /// The whole number `key` from 1 up, or "unlimited", which is `Some(None)`.
    pub(super) fn number_or_unlimited(
        &mut self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<Option<u32>> {
        let entry = self.entry(section, key)?;
        let read = match entry.value.as_str() {
            Some("unlimited") => Ok(None),
            Some(_) => Err("must be a whole number or \"unlimited\"".to_owned()),
            None => number(entry.value, &(1..=u32::MAX)).map(Some),
        };
        self.keep(section, key, entry.line, read)
    }

    /// The whole numbers of `key`, a list, within `range`, or this word, which is `Some(None)`.
    pub(super) fn numbers_or(
        &mut self,
        section: &Section<'_>,
        key: &str,
        word: &str,
        range: &RangeInclusive<u32>,
    ) -> Option<Option<Vec<u32>>> {
        let entry = self.entry(section, key)?;
        if entry.value.as_str() == Some(word) {
            return Some(None);
        }
        let Some(items) = entry.value.as_array() else {
            let message = not(&format!("a list of numbers or \"{word}\""), entry.value);
            self.fault(section, key, entry.line, &message);
            return None;
        };
        let mut numbers = Vec::new();
        for item in items.iter() {
            let line = self.line(item.span().start);
            numbers.extend(self.keep(section, key, line, number(item.get_ref(), range)));
        }
        Some(Some(numbers))
    }

    /// The truth value `key`.
    pub(super) fn truth(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let entry = self.entry(section, key)?;
        let read = entry.value.as_bool();
        let read = read.ok_or_else(|| not("true or false", entry.value));
        self.keep(section, key, entry.line, read)
    }

    /// The truth value `key`, or this word, which is `Some(None)`.
    pub(super) fn truth_or(
        &mut self,
        section: &Section<'_>,
        key: &str,
        word: &str,
    ) -> Option<Option<bool>> {
        let entry = self.entry(section, key)?;
        let read = match (entry.value.as_bool(), entry.value.as_str()) {
            (Some(truth), _) => Ok(Some(truth)),
            (None, Some(text)) if text == word => Ok(None),
            _ => Err(not(&format!("true, false or \"{word}\""), entry.value)),
        };
        self.keep(section, key, entry.line, read)
    }

    /// Reports that `key` must be set; the line is the table's.
    pub(super) fn missing(&mut self, section: &Section<'_>, key: &str, remedy: &str) {
        let text = format!("{} lacks `{key}`: {remedy}", section.table.header());
        self.problems.push(Problem {
            line: section.line,
            text,
        });
    }

    /// Reports a problem with `key`.
    pub(super) fn fault(&mut self, section: &Section<'_>, key: &str, line: usize, message: &str) {
        let text = format!("{} {key}: {message}", section.table.header());
        self.problems.push(Problem { line, text });
    }

    /// Reports a problem with `key` at the place where it stands, else at its table.
    pub(super) fn fault_at(&mut self, section: &Section<'_>, key: &str, message: &str) {
        let line = self
            .entry(section, key)
            .map_or(section.line, |entry| entry.line);
        self.fault(section, key, line, message);
    }

    /// The value, or nothing and a problem more.
    pub(super) fn keep<T>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        line: usize,
        read: Result<T, String>,
    ) -> Option<T> {
        read.map_err(|message| self.fault(section, key, line, &message))
            .ok()
    }

    /// Whether `key` is written as an empty list.
    pub(super) fn is_empty_list(&self, section: &Section<'_>, key: &str) -> bool {
        self.entry(section, key)
            .and_then(|entry| entry.value.as_array())
            .is_some_and(|items| items.is_empty())
    }

    /// Whether nothing was wrong so far.
    pub(super) const fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems, as those of the file at `path`.
    pub(super) fn into_error(self, path: String) -> ConfigError {
        ConfigError::new(path, self.problems)
    }

    fn find<'d>(&self, root: &'d DeTable<'d>, path: &str) -> Option<(usize, &'d DeValue<'d>)> {
        let (entries, key) = match path.split_once('.') {
            Some((outer, inner)) => (root.get(outer)?.get_ref().as_table()?, inner),
            None => (root, path),
        };
        let value = entries.get(key)?;
        Some((self.line(value.span().start), value.get_ref()))
    }

    fn check_keys(&mut self, section: &Section<'_>) {
        if section.table.shape == Shape::Free {
            return;
        }
        let inner = children(section.table.path).filter_map(|t| t.path.rsplit('.').next());
        let known: Vec<&str> = section.table.keys.iter().copied().chain(inner).collect();
        for entry in self.entries(section) {
            if known.contains(&entry.key) {
                continue;
            }
            let text = format!(
                "{} unknown key `{}`, {}",
                section.table.header(),
                entry.key,
                suggestion(entry.key, &known)
            );
            self.problems.push(Problem {
                line: entry.line,
                text,
            });
        }
    }

    fn wrong_shape(&mut self, table: &Table, line: usize, value: &DeValue<'_>) {
        let text = format!(
            "{} is {}: write {}",
            table.path,
            kind(value),
            table.header()
        );
        self.problems.push(Problem { line, text });
    }

    fn line(&self, at: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= at)
    }
}

/// The schema of `path`; of the first table for a path it does not list, which a test rules out.
fn table(path: &str) -> &'static Table {
    let [first, ..] = &TABLES;
    TABLES.iter().find(|t| t.path == path).unwrap_or(first)
}

/// The tables directly inside `path`; the outermost ones for the empty path.
fn children(path: &str) -> impl Iterator<Item = &'static Table> {
    TABLES
        .iter()
        .filter(move |t| t.path.rsplit_once('.').map_or("", |(outer, _)| outer) == path)
}

fn suggestion(key: &str, known: &[&str]) -> String {
    if let Some(near) = nearest(key, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let known: Vec<String> = known.iter().map(|key| format!("`{key}`")).collect();
    match home_of(key) {
        Some(home) => home,
        None => format!("known here: {}", known.join(", ")),
    }
}

/// Which tables know a key that stands elsewhere.
fn home_of(key: &str) -> Option<String> {
    let homes: Vec<String> = TABLES
        .iter()
        .filter(|table| table.keys.contains(&key))
        .map(Table::header)
        .collect();
    (!homes.is_empty()).then(|| format!("it belongs into {}", homes.join(" or ")))
}

fn number(value: &DeValue<'_>, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let expected = || {
        if *range.end() == u32::MAX {
            format!("must be a whole number from {} up", range.start())
        } else {
            format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            )
        }
    };
    let DeValue::Integer(digits) = value else {
        return Err(expected());
    };
    u32::from_str_radix(digits.as_str(), digits.radix())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(expected)
}

fn is_array_of_tables(value: &DeValue<'_>) -> bool {
    let first = value.as_array().and_then(|items| items.first());
    first.is_some_and(|item| item.get_ref().is_table())
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn not(expected: &str, value: &DeValue<'_>) -> String {
    format!("must be {expected}, not {}", kind(value))
}
