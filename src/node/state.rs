//! What a node keeps over a restart, in its state directory: numbers, all of which may be lost.
//!
//! A file is replaced as a whole, so that a crash leaves the old one or the new one. What cannot be read or
//! written is only logged (R-G4).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::engine::Seen;
use crate::keyfile::beside;
use crate::limits::DIRECTORY_FLOORS_MAX;
use crate::name::Name;
use crate::node::routing::Routing;

/// Longest line of the file of floors: name, number, and what is between and behind them.
const FLOOR_LINE_MAX: u64 = 80;

/// A serial above every one of this name before: the time, or one more than the last if the clock was
/// set back.
pub(super) fn serial(state_dir: Option<&Path>, now: u64) -> u64 {
    let Some(path) = state_dir.map(|dir| dir.join("serial")) else {
        return now;
    };
    let serial = number_in(&path).map_or(now, |last| now.max(last.saturating_add(1)));
    write(&path, &format!("{serial}\n"));
    serial
}

/// The number in a file.
pub(super) fn number_in(path: &Path) -> Option<u64> {
    read(path, 64, |text| {
        let number = text.trim().parse();
        number.map_err(|_| "it holds no number".to_owned())
    })
}

/// What a file holds; nothing, and a line in the log, if that makes no sense.
fn read<T>(path: &Path, max: u64, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
    let text = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        opened => opened.and_then(|file| {
            let mut file = io::Read::take(file, max + 1);
            io::read_to_string(&mut file)
        }),
    };
    let parsed = match text {
        Ok(text) if text.len() as u64 > max => Err("it is too long".to_owned()),
        Ok(text) => parse(&text),
        Err(error) => Err(error.to_string()),
    };
    let path = path.display();
    parsed
        .inspect_err(|why| {
            tracing::warn!("cannot use state file {path}: {why}; the node goes on without it and writes it anew");
        })
        .ok()
}

fn write(path: &Path, text: &str) {
    if let Err(error) = replace(path, text) {
        tracing::warn!(path = %path.display(), %error, "state cannot be written");
    }
}

/// Puts a new file in the place of an old one, for this user alone. The directory is this process's own.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let fresh = beside(path, ".new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// A file that is written beside the node's work, in order: of what comes while one is written, the newest.
#[derive(Clone, Debug)]
struct Sheet {
    path: Arc<Path>,
    runtime: Handle,
    next: Arc<Mutex<Next>>,
}

/// What is to be written next, and whether somebody writes.
#[derive(Debug, Default)]
struct Next {
    text: Option<String>,
    writing: bool,
}

impl Sheet {
    fn new(path: PathBuf, runtime: Handle) -> Self {
        Self {
            path: path.into(),
            runtime,
            next: Arc::default(),
        }
    }

    fn put(&self, text: String) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.text = Some(text);
        if !std::mem::replace(&mut next.writing, true) {
            let own = self.clone();
            let _writer = self.runtime.spawn_blocking(move || own.write_all());
        }
    }

    fn write_all(&self) {
        while let Some(text) = self.take() {
            write(&self.path, &text);
        }
    }

    fn take(&self) -> Option<String> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let text = next.text.take();
        next.writing = text.is_some();
        text
    }
}

/// Writes the newest of ever higher numbers down.
pub(super) fn remember(path: Option<PathBuf>) -> Box<dyn Fn(u64) + Send> {
    let sheet = path.map(|path| Sheet::new(path, Handle::current()));
    Box::new(move |number| {
        if let Some(sheet) = &sheet {
            sheet.put(format!("{number}\n"));
        }
    })
}

/// Hands out the numbers of an earlier run, and writes down those that are seen of nodes that the
/// configuration names (R-D5).
pub(super) fn floors(
    path: Option<PathBuf>,
    routing: Arc<Routing>,
    mut take: impl FnMut(Name, u64),
) -> Seen {
    let floors = Floors::load(path, Handle::current(), |name| routing.is_named(name));
    for (name, number) in &floors.known {
        take(*name, *number);
    }
    let floors = Mutex::new(floors);
    Box::new(move |name, number| {
        let mut floors = floors.lock().unwrap_or_else(PoisonError::into_inner);
        floors.seen(name, number, |name| routing.is_named(name));
    })
}

/// The highest number seen of a record of each node that somebody has named here: nobody can show this node an
/// older record after a restart.
#[derive(Debug)]
struct Floors {
    known: BTreeMap<Name, u64>,
    sheet: Option<Sheet>,
}

impl Floors {
    /// Those of an earlier run, of nodes that are still named.
    fn load(path: Option<PathBuf>, runtime: Handle, named: impl Fn(&Name) -> bool) -> Self {
        let max = FLOOR_LINE_MAX * DIRECTORY_FLOORS_MAX as u64;
        let known = path
            .as_deref()
            .and_then(|path| read(path, max, read_floors));
        let mut known = known.unwrap_or_default();
        known.retain(|name, _| named(name));
        Self {
            known,
            sheet: path.map(|path| Sheet::new(path, runtime)),
        }
    }

    /// A record of a node was seen; `named` says whether this is written down.
    fn seen(&mut self, name: Name, number: u64, named: impl Fn(&Name) -> bool) {
        let known = self.known.get(&name).is_some_and(|known| *known >= number);
        if known || !named(&name) {
            return;
        }
        self.known.insert(name, number);
        if let Some(sheet) = &self.sheet {
            let lines = self.known.iter();
            sheet.put(
                lines
                    .map(|(name, number)| format!("{name} {number}\n"))
                    .collect(),
            );
        }
    }
}

/// Lines of a name and a number.
fn read_floors(text: &str) -> Result<BTreeMap<Name, u64>, String> {
    let floor = |(at, line): (usize, &str)| {
        let mut words = line.split_ascii_whitespace();
        let (name, number) = (words.next(), words.next());
        let name = name.and_then(|name| name.parse().ok());
        let number = number.and_then(|number| number.parse().ok());
        let both = name.zip(number).filter(|_| words.next().is_none());
        both.ok_or_else(|| format!("line {} is no name and number", at + 1))
    };
    text.lines().enumerate().map(floor).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::name::Identity;

    fn name(seed: u8) -> Name {
        Identity::from_seed(&[seed; 32]).name()
    }

    /// Waits until nothing is left to write.
    async fn written(sheet: &Sheet) {
        while sheet.next.lock().unwrap().writing {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serial");
        std::fs::write(&path, "7\n").unwrap();
        std::fs::write(
            dir.path().join("serial.new"),
            "half of a write that was cut off",
        )
        .unwrap();
        assert_eq!(serial(Some(dir.path()), 5), 8);
        assert_eq!(serial(Some(dir.path()), 100), 100);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "100\n");
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "seven\n").unwrap();
        assert_eq!(serial(Some(dir.path()), 5), 5, "a spoilt number is none");
        assert_eq!(serial(None, 9), 9);
        assert_eq!(serial(Some(Path::new("/nowhere")), 9), 9);
    }

    #[tokio::test]
    async fn the_newest_number_is_written_last() {
        let dir = tempfile::tempdir().unwrap();
        let sheet = Sheet::new(dir.path().join("record"), Handle::current());
        for number in 0..500 {
            sheet.put(format!("{number}\n"));
        }
        written(&sheet).await;
        assert_eq!(number_in(&sheet.path), Some(499));
        let remember = remember(Some(sheet.path.to_path_buf()));
        remember(500);
        while number_in(&sheet.path) != Some(500) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn floors_of_nodes_that_are_named_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("floors");
        let load =
            |named: fn(&Name) -> bool| Floors::load(Some(path.clone()), Handle::current(), named);
        let mut floors = load(|_| true);
        assert!(floors.known.is_empty());
        let named = |known: &Name| *known != name(3);
        for (seed, number) in [(1, 10), (2, 7), (3, 9), (1, 12), (1, 11), (2, 0)] {
            floors.seen(name(seed), number, named);
        }
        written(floors.sheet.as_ref().unwrap()).await;
        assert_eq!(
            load(|_| true).known,
            BTreeMap::from([(name(1), 12), (name(2), 7)])
        );
        let still_named = load(|known| *known == name(2));
        assert_eq!(still_named.known, BTreeMap::from([(name(2), 7)]));
    }

    #[tokio::test]
    async fn a_spoilt_file_of_floors_is_left_aside_and_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("floors");
        let good = name(1);
        for spoilt in ["\u{0}\u{1}", "rubbish", &format!("{good} 1\n{good} x\n")] {
            std::fs::write(&path, spoilt).unwrap();
            let mut floors = Floors::load(Some(path.clone()), Handle::current(), |_| true);
            assert!(floors.known.is_empty(), "{spoilt:?}");
            floors.seen(good, 5, |_| true);
            written(floors.sheet.as_ref().unwrap()).await;
            assert_eq!(
                std::fs::read_to_string(&path).unwrap(),
                format!("{good} 5\n")
            );
        }
        let why = read_floors(&format!("{good} 1\n{good} x\n"));
        assert_eq!(why, Err("line 2 is no name and number".to_owned()));
        assert!(read(&path, 5, |_| Ok(())).is_none(), "it is too long");
    }
}
