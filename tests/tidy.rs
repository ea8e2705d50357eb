//! Rules about the source itself: rooms look down only, pure rooms stay pure, files stay readable, documents
//! do not lie. A failure names file, line and rule.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a check has no caller to report to"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the ground up; each may use those before it, except [`SIBLINGS`].
const ROOMS: &[&str] = &[
    "time",
    "random",
    "limits",
    "wire",
    "name",
    "ssm",
    "srm",
    "acl",
    "config",
    "session",
    "cloak",
    "link",
    "core",
    "sim",
    "net",
    "lcm",
    "engine",
    "peering",
    "forwarder",
    "proxy",
    "keyfile",
    "control",
    "node",
    "cli",
    "fuzzing",
];

/// Rooms that must not know each other.
const SIBLINGS: &[&[&str]] = &[&["session", "cloak", "link"]];

/// The last room without sockets, clocks, tasks and global randomness.
const LAST_PURE: &str = "sim";

/// What a pure room never says.
const IMPURE: &[&str] = &[
    "tokio",
    "async fn",
    "async move",
    ".await",
    "std::fs",
    "net::Tcp",
    "net::Udp",
    "os::unix",
    "std::thread",
    "Instant",
    "SystemTime",
    "getrandom",
    "rustix",
    "socket2",
];

/// Lines of a file without its tests: what a head can hold.
const LINES_MAX: usize = 600;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self
            .path
            .iter()
            .nth(1)
            .and_then(|part| part.to_str())
            .unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Whether the whole file is a test.
    fn is_test(&self) -> bool {
        self.path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs")
    }

    /// The lines before the tests, numbered from 1, without comments.
    fn code(&self) -> Vec<(usize, &str)> {
        let end = self
            .text
            .find("#[cfg(test)]\nmod tests {")
            .unwrap_or(self.text.len());
        let code = self.text[..end].lines().enumerate();
        code.map(|(at, line)| (at + 1, line.split("//").next().unwrap_or_default()))
            .collect()
    }
}

fn walk(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    // An empty tree would pass every rule.
    assert!(
        Path::new("src/main.rs").exists(),
        "run from the root of the project"
    );
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path,
    };
    let all = walk(Path::new("src"), "rs").into_iter().map(read);
    all.filter(|source| !["lib", "main"].contains(&source.room()))
        .collect()
}

fn place(room: &str) -> usize {
    let found = ROOMS.iter().position(|known| *known == room);
    found.unwrap_or_else(|| panic!("{room} is not in ROOMS"))
}

#[test]
fn rooms_look_down_only() {
    let mut seen = BTreeSet::new();
    for source in sources() {
        let room = source.room();
        seen.insert(room.to_owned());
        for (line, text) in source.code() {
            if source.is_test() {
                break;
            }
            let here = format!("{}:{line}", source.path.display());
            assert!(
                !text.contains("super::super"),
                "{here}: name the room instead"
            );
            assert!(
                !text.contains("crate::{"),
                "{here}: a grouped import hides its rooms"
            );
            for used in text.split("crate::").skip(1) {
                let used: String = used
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                assert!(
                    place(&used) <= place(room),
                    "{here}: {room} must not use {used}"
                );
                let strangers = SIBLINGS
                    .iter()
                    .any(|set| used != room && set.contains(&room) && set.contains(&used.as_str()));
                assert!(
                    !strangers,
                    "{here}: {room} and {used} do not know each other"
                );
            }
        }
    }
    let missing: Vec<_> = ROOMS.iter().filter(|room| !seen.contains(**room)).collect();
    assert!(
        missing.iter().all(|room| **room == "sim"),
        "not in src/: {missing:?}"
    );
}

#[test]
fn pure_rooms_have_no_sockets_clocks_tasks_or_chance() {
    let last = place(LAST_PURE);
    let mut checked = 0;
    for source in sources()
        .iter()
        .filter(|source| place(source.room()) <= last && !source.is_test())
    {
        checked += 1;
        for (line, text) in source.code() {
            let found = IMPURE.iter().find(|word| text.contains(**word));
            assert_eq!(
                found,
                None,
                "{}:{line}: not in a pure room",
                source.path.display()
            );
        }
    }
    assert!(checked > 30, "only {checked} files were found to be pure");
}

#[test]
fn files_can_be_read_in_one_sitting() {
    for source in sources() {
        let lines = source.code().len();
        assert!(
            lines <= LINES_MAX,
            "{}: {lines} lines",
            source.path.display()
        );
    }
}

#[test]
fn nothing_is_left_unfinished() {
    // Split so that this file does not find itself.
    let words = [
        ["to", "do!("],
        ["unimple", "mented!("],
        ["#[ig", "nore"],
        ["TO", "DO"],
    ]
    .map(|w| w.concat());
    for path in walk(Path::new("src"), "rs")
        .into_iter()
        .chain(walk(Path::new("tests"), "rs"))
    {
        let text = fs::read_to_string(&path).unwrap();
        for word in &words {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
    }
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let documents = walk(Path::new("docs"), "md");
    for document in documents
        .into_iter()
        .chain(["README.md", "CHANGELOG.md"].map(PathBuf::from))
    {
        let text = fs::read_to_string(&document).unwrap();
        let folder = document.parent().unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let local = target.split('#').next().unwrap_or_default();
            let fine = local.is_empty() || local.contains("://") || folder.join(local).exists();
            assert!(fine, "{}: no {local}", document.display());
        }
        for quoted in text.split('`').skip(1).step_by(2) {
            let is_path = ["src/", "tests/", "docs/", "packaging/", "fuzz/"]
                .iter()
                .any(|p| quoted.starts_with(p));
            let found = !is_path || quoted.contains(['*', ' ']) || Path::new(quoted).exists();
            assert!(found, "{}: no {quoted}", document.display());
        }
    }
}

#[test]
fn every_dependency_says_why() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let mut before = "";
    let mut section = "";
    let mut checked = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && line.contains('=') {
            assert!(before.starts_with("# "), "Cargo.toml: why {line}?");
            checked += 1;
        }
        before = line;
    }
    assert!(checked > 20, "only {checked} dependencies found");
}

#[test]
fn the_required_dependencies_are_used() {
    let all: String = sources().iter().map(|source| source.text.clone()).collect();
    for krate in [
        "tokio",
        "fast_socks5",
        "aes",
        "hmac",
        "sha1",
        "dashmap",
        "tracing",
    ] {
        assert!(all.contains(&format!("{krate}::")), "{krate} is not used");
    }
}

#[test]
fn the_readme_shows_the_two_commands_and_stays_short() {
    let readme = fs::read_to_string("README.md").unwrap();
    for command in ["cargo run --release", "cargo test"] {
        assert!(
            readme.lines().any(|line| line.starts_with(command)),
            "{command}"
        );
    }
    assert!(readme.lines().count() <= 200);
}
