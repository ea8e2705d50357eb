//! Telling systemd the state of the service (`sd_notify(3)`), without its library.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use tracing::debug;

/// Sends a state such as `READY=1` to `$NOTIFY_SOCKET`; does nothing without it.
pub(super) fn notify(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&address, state) {
        debug!(%error, "cannot notify systemd");
    }
}

/// `address` is a path, or `@` and an abstract name.
fn send(address: &OsStr, state: &str) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold us up.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_a_path_and_at_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("muses-test-{}", path.display());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name = UnixDatagram::bind_addr(&abstract_address).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").unwrap();
        let mut bytes = [0; 32];
        let len = by_path.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"READY=1");
        let len = by_name.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"STOPPING=1");
        assert!(send(dir.path().join("none").as_os_str(), "x").is_err());
    }
}
