//! Key files: the identity of a node and the pre-shared key of an overlay, at rest (R-Z1, R-Z2).
//!
//! Both are small text files of mode 0600. Lines that begin with `#` are comments; exactly one other
//! line stands in the file. Binary values are lower-case base32 (RFC 4648, no padding).
//!
//! ```text
//! # identity of a muses node: keep it secret, keep a copy
//! muses-key-1 SEED NAME
//! ```
//!
//! SEED is the 32-byte Ed25519 seed (52 characters) and NAME its name, so that a damaged seed is
//! noticed instead of speaking for a stranger.
//!
//! ```text
//! # key of a muses overlay: the same file on every node
//! muses-network-key-1 KEY CHECKSUM
//! ```
//!
//! KEY has 32 bytes; CHECKSUM is the first five bytes of SHA-256 over a label and the key.
//!
//! A file is taken only if it is a regular file of the running user that nobody else can read or
//! write, below directories in which nobody else could replace it. What is not right is refused and
//! never replaced. A new file appears complete or not at all. Nothing here is fast: it runs once,
//! before the node serves anyone.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use data_encoding::BASE32_NOPAD;
use rustix::fs::{AtFlags, CWD, FlockOperation, OFlags, RenameFlags};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::name::{Identity, Name};

/// Longest key file in bytes; ours have below 300.
const FILE_BYTES_MAX: u64 = 4096;
const IDENTITY_WORD: &str = "muses-key-1";
const NETWORK_WORD: &str = "muses-network-key-1";

/// Why a key file is not taken or not made; each text names the file and the remedy.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No such file.
    #[error("no key file {0}; make one with: {command} {0}", command = .1.command())]
    Missing(PathBuf, KeyKind),
    /// The system refuses to open, read or write it.
    #[error("cannot {2} key file {0}: {1}")]
    Io(PathBuf, io::Error, &'static str),
    /// `keygen` never overwrites.
    #[error("{0} exists and is not overwritten; move it away first, or choose another file")]
    Exists(PathBuf),
    /// A directory, a device, a socket.
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    /// Group or others may read or write it.
    #[error(
        "others can read or write key file {0} (mode {1:04o}); if you still trust it: chmod 600 {0}"
    )]
    Open(PathBuf, u32),
    /// It belongs to someone else.
    #[error(
        "key file {0} belongs to user {1}, but this program runs as user {2}; chown it or run as its owner"
    )]
    Owner(PathBuf, u32, u32),
    /// Anybody could replace it.
    #[error(
        "anybody can write to {1}, above key file {0}; chmod o-w {1}, or keep the key elsewhere"
    )]
    Directory(PathBuf, PathBuf),
    /// Short, damaged, or something else altogether.
    #[error(
        "{0} is not a usable key file ({1}); put back a copy, or move it away and make a new one"
    )]
    Corrupt(PathBuf, &'static str),
    /// Another daemon has it.
    #[error("another muses daemon runs with key file {0}; stop it, or use another identity")]
    Locked(PathBuf),
    /// The operating system gives no random bytes.
    #[error("no randomness from the operating system: {0}")]
    Random(getrandom::Error),
}

/// Which key a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The identity of a node.
    Identity,
    /// The pre-shared key of an overlay.
    Network,
}

impl KeyKind {
    /// The command that makes such a file.
    const fn command(self) -> &'static str {
        match self {
            Self::Identity => "muses keygen",
            Self::Network => "muses keygen --network",
        }
    }
}

/// Makes a new identity in a file that must not exist.
pub fn create(path: &Path) -> Result<Identity, KeyError> {
    let seed = random()?;
    let identity = Identity::from_seed(&seed);
    let text = Zeroizing::new(format!(
        "# identity of a muses node: keep it secret, keep a copy\n{IDENTITY_WORD} {} {}\n",
        *base32(&*seed),
        identity.name()
    ));
    write_new(path, text.as_bytes())?;
    Ok(identity)
}

/// Reads an identity, after all checks of the module's text.
pub fn load(path: &Path) -> Result<Identity, KeyError> {
    let text = read_checked(path, KeyKind::Identity)?;
    let corrupt = |why| KeyError::Corrupt(path.to_owned(), why);
    let (seed, name) = fields(&text, IDENTITY_WORD).map_err(corrupt)?;
    let seed = unbase32(seed).map_err(corrupt)?;
    let identity = Identity::from_seed(&seed);
    match name.parse::<Name>() {
        Ok(name) if name == identity.name() => Ok(identity),
        _ => Err(corrupt("key and name do not fit together")),
    }
}

/// Reads the identity, or makes one if there is no file at all.
pub fn load_or_create(path: &Path) -> Result<Identity, KeyError> {
    match load(path) {
        Err(KeyError::Missing(..)) => create(path),
        other => other,
    }
}

/// Makes a new network key in a file that must not exist.
pub fn create_network_key(path: &Path) -> Result<(), KeyError> {
    let key = random()?;
    let text = Zeroizing::new(format!(
        "# key of a muses overlay: the same file on every node\n{NETWORK_WORD} {} {}\n",
        *base32(&*key),
        checksum(&key)
    ));
    write_new(path, text.as_bytes())
}

/// Reads a network key, after the same checks as an identity.
pub fn network_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let text = read_checked(path, KeyKind::Network)?;
    let corrupt = |why| KeyError::Corrupt(path.to_owned(), why);
    let (key, sum) = fields(&text, NETWORK_WORD).map_err(corrupt)?;
    let key = unbase32(key).map_err(corrupt)?;
    if sum != checksum(&key) {
        return Err(corrupt("the checksum does not fit"));
    }
    Ok(key)
}

/// The right to run a daemon with one identity; given up when dropped, or when the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the lock of an identity (R-Z2), without waiting.
pub fn lock(path: &Path) -> Result<Lock, KeyError> {
    let file = File::open(path).map_err(|e| KeyError::Io(path.to_owned(), e, "lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(KeyError::Locked(path.to_owned())),
        Err(e) => Err(KeyError::Io(path.to_owned(), e.into(), "lock")),
    }
}

/// The path `<key>` with `suffix` appended to its file name.
pub fn beside(key: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(key.as_os_str());
    path.push(suffix);
    path.into()
}

/// Makes sure of `<key>.state/`, mode 0700, and gives its path. The error is for a warning: a node
/// forwards without a state directory, too (R-G4).
pub fn state_dir(key: &Path) -> io::Result<PathBuf> {
    let path = beside(key, ".state");
    private_dir(&path)?;
    Ok(path)
}

/// Makes a directory of mode 0700, or checks that the one there is ours alone. The directory above
/// must exist.
pub fn private_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let meta = fs::symlink_metadata(path)?;
    let fine = meta.is_dir()
        && meta.uid() == rustix::process::geteuid().as_raw()
        && meta.mode() & 0o077 == 0;
    if fine {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "{} is not a directory of this user alone; chmod 700 it, or remove it",
            path.display()
        ),
    ))
}

/// Directories above the key that its group can write to: worth a warning, no more (R-Z1).
pub fn group_writable_above(path: &Path) -> Vec<PathBuf> {
    let Ok(real) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let shared = |dir: &&Path| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o1020 == 0o020);
    let above = real.ancestors().skip(1);
    above.filter(shared).map(Path::to_owned).collect()
}

fn random() -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(KeyError::Random)?;
    Ok(bytes)
}

fn base32(bytes: &[u8]) -> Zeroizing<String> {
    let upper = Zeroizing::new(BASE32_NOPAD.encode(bytes));
    Zeroizing::new(upper.to_ascii_lowercase())
}

fn unbase32(text: &str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let bytes = BASE32_NOPAD.decode(upper.as_bytes()).map(Zeroizing::new);
    let bytes = bytes.map_err(|_| "the key is not base32")?;
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err("the key is too short or too long");
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

fn checksum(key: &[u8; 32]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"muses network key checksum");
    hash.update(key);
    let digest = hash.finalize();
    base32(&[digest[0], digest[1], digest[2], digest[3], digest[4]]).to_string()
}

/// The two fields behind `word` on the only line that is no comment.
fn fields<'a>(text: &'a str, word: &str) -> Result<(&'a str, &'a str), &'static str> {
    if !text.ends_with('\n') {
        return Err("its end is missing");
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines.next().ok_or("it holds no key")?;
    if lines.next().is_some() {
        return Err("there is more than one line");
    }
    let mut parts = line.split_ascii_whitespace();
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(first), Some(a), Some(b), None) if first == word => Ok((a, b)),
        (Some(first), ..) if first.starts_with("muses-") && first != word => {
            Err("it holds another kind or version of key")
        }
        _ => Err("its line is incomplete"),
    }
}

fn read_checked(path: &Path, kind: KeyKind) -> Result<Zeroizing<String>, KeyError> {
    let io = |e| KeyError::Io(path.to_owned(), e, "read");
    let real = match fs::canonicalize(path) {
        // A link to nowhere is something to look at, not a missing file.
        Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            return Err(KeyError::Missing(path.to_owned(), kind));
        }
        other => other.map_err(io)?,
    };
    check_above(path, &real)?;
    check_above(
        path,
        &fs::canonicalize(parent(path)).map_err(io)?.join("file"),
    )?;
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(&real)
        .map_err(io)?;
    check_file(path, &file.metadata().map_err(io)?)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(KeyError::Corrupt(path.to_owned(), "it is too long"));
    }
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| KeyError::Corrupt(path.to_owned(), "it is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn check_file(path: &Path, meta: &fs::Metadata) -> Result<(), KeyError> {
    let me = rustix::process::geteuid().as_raw();
    if !meta.is_file() {
        return Err(KeyError::NotAFile(path.to_owned()));
    }
    if meta.uid() != me {
        return Err(KeyError::Owner(path.to_owned(), meta.uid(), me));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(KeyError::Open(path.to_owned(), meta.mode() & 0o7777));
    }
    Ok(())
}

/// Refuses directories above `real` that anybody can write to, unless sticky.
fn check_above(path: &Path, real: &Path) -> Result<(), KeyError> {
    match writable_above(real) {
        Ok(None) => Ok(()),
        Ok(Some(dir)) => Err(KeyError::Directory(path.to_owned(), dir)),
        Err(e) => Err(KeyError::Io(path.to_owned(), e, "look above")),
    }
}

fn writable_above(real: &Path) -> io::Result<Option<PathBuf>> {
    for dir in real.ancestors().skip(1) {
        if fs::metadata(dir)?.mode() & 0o1002 == 0o002 {
            return Ok(Some(dir.to_owned()));
        }
    }
    Ok(None)
}

/// The directory, if there is one, that lets anybody put something else into the place of this path.
/// The directory above it must exist.
pub fn replaceable_by_all(path: &Path) -> io::Result<Option<PathBuf>> {
    writable_above(&fs::canonicalize(parent(path))?.join("file"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Writes a file that must not exist: complete and on the disk, or not there.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let io = |e| KeyError::Io(path.to_owned(), e, "create");
    if fs::symlink_metadata(path).is_ok() {
        return Err(KeyError::Exists(path.to_owned()));
    }
    let dir = fs::canonicalize(parent(path)).map_err(io)?;
    check_above(path, &dir.join("file"))?;
    let tail = base32(&random()?[..10]);
    let temp = beside(path, &format!(".{}.tmp", *tail));
    let done = write_temp(&temp, bytes).and_then(|()| move_new(&temp, path));
    if done.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temp);
    }
    match done {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(KeyError::Exists(path.to_owned())),
        Err(e) => Err(io(e)),
        Ok(()) => File::open(&dir).and_then(|d| d.sync_all()).map_err(io),
    }
}

fn write_temp(temp: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temp)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames without replacing; a file system that cannot gets a second name and loses the first.
fn move_new(temp: &Path, path: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, temp, CWD, path, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            rustix::fs::linkat(CWD, temp, CWD, path, AtFlags::empty())?;
            fs::remove_file(temp)
        }
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests;
