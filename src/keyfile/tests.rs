use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_new_identity_reads_back_from_a_private_file() {
    let dir = scratch();
    let path = dir.path().join("muses.key");
    let made = create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert_eq!(load(&path).unwrap().name(), made.name());
    assert_eq!(load_or_create(&path).unwrap().name(), made.name());
    let entries = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(entries, 1, "no temporary file stays behind");
}

#[test]
fn creating_never_overwrites() {
    let dir = scratch();
    let path = dir.path().join("muses.key");
    fs::write(&path, "precious").unwrap();
    assert!(matches!(create(&path), Err(KeyError::Exists(_))));
    assert!(matches!(
        create_network_key(&path),
        Err(KeyError::Exists(_))
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    let dangling = dir.path().join("dangling");
    symlink(dir.path().join("nowhere"), &dangling).unwrap();
    assert!(matches!(create(&dangling), Err(KeyError::Exists(_))));
    assert!(matches!(load_or_create(&dangling), Err(KeyError::Io(..))));
}

#[test]
fn a_name_taken_at_the_last_moment_is_not_overwritten() {
    let dir = scratch();
    let (temp, path) = (dir.path().join("temp"), dir.path().join("key"));
    fs::write(&temp, "new").unwrap();
    fs::write(&path, "old").unwrap();
    let refused = move_new(&temp, &path).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}

#[test]
fn a_missing_file_names_the_command_that_makes_one() {
    let dir = scratch();
    let text = load(&dir.path().join("k")).unwrap_err().to_string();
    assert!(text.contains("muses keygen "), "{text}");
    let text = network_key(&dir.path().join("k")).unwrap_err().to_string();
    assert!(text.contains("muses keygen --network "), "{text}");
}

#[test]
fn a_file_that_others_can_read_or_write_is_refused() {
    let dir = scratch();
    let path = dir.path().join("muses.key");
    create(&path).unwrap();
    for bits in [0o640, 0o604, 0o620, 0o602, 0o610, 0o666] {
        chmod(&path, bits);
        let refused = load_or_create(&path).unwrap_err();
        assert!(matches!(refused, KeyError::Open(_, m) if m == bits));
        assert!(refused.to_string().contains("chmod 600"));
    }
    chmod(&path, 0o400);
    assert!(load(&path).is_ok());
}

#[test]
fn a_directory_that_anybody_can_write_to_is_refused_unless_sticky() {
    let dir = scratch();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("muses.key");
    create(&path).unwrap();
    chmod(&inner, 0o777);
    assert!(matches!(load(&path), Err(KeyError::Directory(_, d)) if d.ends_with("inner")));
    assert!(matches!(
        create(&inner.join("other")),
        Err(KeyError::Directory(..))
    ));
    assert!(!inner.join("other").exists());
    chmod(&inner, 0o1777);
    assert!(load(&path).is_ok());
    chmod(&inner, 0o770);
    assert!(load(&path).is_ok());
    assert_eq!(group_writable_above(&path).len(), 1);
}

#[test]
fn a_link_in_an_open_directory_is_refused_although_its_target_is_safe() {
    let dir = scratch();
    let (safe, open) = (dir.path().join("safe"), dir.path().join("open"));
    fs::create_dir(&safe).unwrap();
    fs::create_dir(&open).unwrap();
    create(&safe.join("key")).unwrap();
    symlink(safe.join("key"), open.join("key")).unwrap();
    assert!(load(&open.join("key")).is_ok());
    chmod(&open, 0o777);
    assert!(matches!(
        load(&open.join("key")),
        Err(KeyError::Directory(..))
    ));
}

#[test]
fn every_shortening_and_every_changed_byte_is_noticed_and_nothing_is_replaced() {
    let dir = scratch();
    let path = dir.path().join("muses.key");
    create(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let line = good.iter().position(|b| *b == b'\n').unwrap() + 1;
    let refused = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let result = load_or_create(&path);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        matches!(result, Err(KeyError::Corrupt(..)))
    };
    for len in 0..good.len() {
        assert!(refused(&good[..len]), "{len}");
    }
    for place in line..good.len() - 1 {
        let mut bad = good.clone();
        bad[place] = if bad[place] == b'b' { b'c' } else { b'b' };
        assert!(refused(&bad), "{place}");
    }
    assert!(refused(&[&good[..], &good[..]].concat()));
    assert!(refused(&[&good[..], &vec![b'#'; 5000], b"\n"].concat()));
    assert!(refused(&[0xff; 100]));
    fs::write(&path, &good).unwrap();
    assert!(load(&path).is_ok());
}

#[test]
fn a_directory_or_socket_is_no_key_file() {
    let dir = scratch();
    let path = dir.path().join("d");
    fs::create_dir(&path).unwrap();
    assert!(matches!(load(&path), Err(KeyError::NotAFile(_))));
    let path = dir.path().join("s");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(load(&path), Err(KeyError::Io(..))));
}

#[test]
fn a_network_key_reads_back_and_is_no_identity() {
    let dir = scratch();
    let path = dir.path().join("network.key");
    create_network_key(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let key = network_key(&path).unwrap();
    assert_ne!(*key, [0; 32]);
    assert!(matches!(load(&path), Err(KeyError::Corrupt(..))));
    let text = fs::read_to_string(&path).unwrap();
    let changed = text.replacen("key-1 ", "key-1 a", 1);
    fs::write(&path, changed).unwrap();
    assert!(matches!(network_key(&path), Err(KeyError::Corrupt(..))));
    chmod(&path, 0o644);
    assert!(matches!(network_key(&path), Err(KeyError::Open(..))));
}

#[test]
fn one_identity_serves_one_daemon() {
    let dir = scratch();
    let path = dir.path().join("muses.key");
    create(&path).unwrap();
    let held = lock(&path).unwrap();
    assert!(matches!(lock(&path), Err(KeyError::Locked(_))));
    drop(held);
    assert!(lock(&path).is_ok());
}

#[test]
fn the_state_directory_is_private() {
    let dir = scratch();
    let key = dir.path().join("muses.key");
    let state = state_dir(&key).unwrap();
    assert_eq!(state, dir.path().join("muses.key.state"));
    assert_eq!(mode(&state), 0o700);
    assert!(state_dir(&key).is_ok());
    chmod(&state, 0o777);
    assert!(state_dir(&key).is_err());
}
