//! Unix sockets to listen on, and where the control socket is.

use std::{
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};
use thiserror::Error;

use crate::keyfile;
use crate::name::Name;

/// Why a Unix socket cannot be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Somebody answers on it.
    #[error("another program, perhaps muses, answers on {0}; stop it, or write another path")]
    InUse(PathBuf),
    /// The path is taken by something that is no socket.
    #[error("{0} is there and is not a socket; move it away, or write another path")]
    NotASocket(PathBuf),
    /// Anybody could put another one into its place.
    #[error(
        "anybody can replace {0}, as {1} is writable by all; chmod o-w {1}, or write another path"
    )]
    Replaceable(PathBuf, PathBuf),
    /// The system refuses.
    #[error("cannot open {0}: {1}; write another path")]
    Io(PathBuf, io::Error),
}

/// Where the socket of a node may be, the place to open first: the configured path alone, or
/// `$XDG_RUNTIME_DIR/muses/<first 12 of the name>.sock`, then `<key>.sock`.
///
/// A daemon opens the first; a caller tries each, since the daemon may run without that variable.
pub fn places(
    configured: Option<&Path>,
    runtime_dir: Option<&OsStr>,
    key: &Path,
    name: Name,
) -> Vec<PathBuf> {
    if let Some(path) = configured {
        return vec![path.to_owned()];
    }
    let runtime = runtime_dir.map(Path::new).filter(|dir| dir.is_absolute());
    let runtime = runtime.map(|dir| dir.join("muses").join(format!("{}.sock", name.short())));
    runtime
        .into_iter()
        .chain([keyfile::beside(key, ".sock")])
        .collect()
}

/// Who may connect, as far as the file system can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// This user.
    Own,
    /// Everybody; whoever accepts looks at the user.
    All,
}

/// An open socket; its path is removed when it is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode, so that a successor's socket is not removed.
    file: (u64, u64),
}

impl Socket {
    /// Opens the socket with mode 0600, or 0666 for all, its directory with 0700 if that is missing.
    /// What a dead daemon left there is replaced, a live one is left alone.
    pub fn bind(path: &Path, access: Access) -> Result<Self, BindError> {
        let io = |e| BindError::Io(path.to_owned(), e);
        if let Some(dir) = path
            .parent()
            .filter(|d| !d.as_os_str().is_empty() && !d.exists())
        {
            keyfile::private_dir(dir).map_err(io)?;
        }
        if let Some(dir) = keyfile::replaceable_by_all(path).map_err(io)? {
            return Err(BindError::Replaceable(path.to_owned(), dir));
        }
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) if alive(path).map_err(io)? => return Err(BindError::InUse(path.to_owned())),
            _ => {}
        }
        // Opened beside and moved into place: the path never holds a socket that others may use or
        // that nobody listens to.
        let fresh = keyfile::beside(path, ".new");
        match fs::remove_file(&fresh) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(io(e)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(io)?;
        let mode = match access {
            Access::Own => 0o600,
            Access::All => 0o666,
        };
        let placed = fs::set_permissions(&fresh, fs::Permissions::from_mode(mode))
            .and_then(|()| fs::rename(&fresh, path))
            .and_then(|()| listener.set_nonblocking(true))
            .and_then(|()| fs::symlink_metadata(path));
        let meta = placed.map_err(|e| {
            // The first error is the one to tell.
            let _ = fs::remove_file(&fresh);
            io(e)
        })?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: (meta.dev(), meta.ino()),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second, non-blocking handle of the listener.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if ours {
            // What stays behind is replaced by the next daemon.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether somebody listens on an existing socket; never waits.
fn alive(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        // Without room in its queue, somebody is there all the same.
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Identity;

    #[test]
    fn the_socket_is_beside_the_key_unless_a_runtime_directory_or_a_path_is_given() {
        let name = Identity::from_seed(&[1; 32]).name();
        let key = Path::new("/k/muses.key");
        let all = |path: Option<&str>, dir: Option<&str>| {
            places(path.map(Path::new), dir.map(OsStr::new), key, name)
        };
        let runtime = PathBuf::from(format!("/run/user/1/muses/{}.sock", name.short()));
        let beside = PathBuf::from("/k/muses.key.sock");
        assert_eq!(all(None, Some("/run/user/1")), [runtime, beside.clone()]);
        assert_eq!(all(None, None), std::slice::from_ref(&beside));
        assert_eq!(all(None, Some("relative")), [beside]);
        assert_eq!(all(Some("/c"), Some("/run")), [PathBuf::from("/c")]);
    }

    #[test]
    fn the_socket_is_private_and_goes_away_with_its_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("muses").join("x.sock");
        let socket = Socket::bind(&path, Access::Own).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(socket.path(), path);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let live = Socket::bind(&path, Access::Own).unwrap();
        assert!(matches!(
            Socket::bind(&path, Access::Own),
            Err(BindError::InUse(_))
        ));
        assert!(path.exists());
        drop(live);
        assert!(Socket::bind(&path, Access::Own).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_the_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(
            Socket::bind(&path, Access::Own),
            Err(BindError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_successor_keeps_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let old = Socket::bind(&path, Access::Own).unwrap();
        fs::remove_file(&path).unwrap();
        let _new = Socket::bind(&path, Access::Own).unwrap();
        drop(old);
        assert!(path.exists());
    }
    #[test]
    fn a_socket_for_all_is_open_to_the_file_system_and_to_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let _socket = Socket::bind(&path, Access::All).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    }

    #[test]
    fn a_place_where_anybody_could_put_another_socket_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let mode = |mode| fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o777);
        let refused = Socket::bind(&path, Access::Own);
        assert!(matches!(refused, Err(BindError::Replaceable(..))));
        mode(0o1777);
        assert!(Socket::bind(&path, Access::Own).is_ok());
    }
}
