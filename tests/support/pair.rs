//! A client and a gateway, applications before one and services behind the other.
#![allow(dead_code, reason = "no test program uses all of it")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tempfile::TempDir;

use crate::node::{DEADLINE, GRANTS, Node, client_config, gateway_config, keygen};

/// A client and a gateway, linked.
pub(crate) struct Pair {
    pub(crate) client: Node,
    pub(crate) gateway: Node,
    pub(crate) _folder: TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self::with(GRANTS, "")
    }

    pub(crate) fn with(gateway_more: &str, client_more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("client"), folder.path().join("gateway"));
        let (client, gateway) = (keygen(&near), keygen(&far));
        let gateway_node = Node::start(&far, &gateway_config(&client, 0, gateway_more), &[]);
        let link = gateway_node.address("link");
        let client_node = Node::start(&near, &client_config(&gateway, link, client_more), &[]);
        Self {
            client: client_node,
            gateway: gateway_node,
            _folder: folder,
        }
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.client.address("proxy")
    }

    /// A connection through the proxy to a port of the far side's loopback.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        socks(self.proxy(), &v4(port)).unwrap_or_else(|code| panic!("reply {code}"))
    }
}

pub(crate) fn stream(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The address part of a SOCKS5 request for 127.0.0.1.
pub(crate) fn v4(port: u16) -> Vec<u8> {
    [&[1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat()
}

pub(crate) fn by_name(name: &str, port: u16) -> Vec<u8> {
    let len = u8::try_from(name.len()).unwrap();
    [&[3, len], name.as_bytes(), &port.to_be_bytes()].concat()
}

/// SOCKS5 CONNECT; the reply code if it is not 0.
pub(crate) fn socks(proxy: SocketAddr, address: &[u8]) -> Result<TcpStream, u8> {
    let mut stream = stream(proxy);
    stream.write_all(&[5, 1, 0]).unwrap();
    let mut method = [0; 2];
    stream.read_exact(&mut method).unwrap();
    assert_eq!(method, [5, 0]);
    stream.write_all(&[&[5, 1, 0], address].concat()).unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).unwrap();
    if reply[1] == 0 {
        Ok(stream)
    } else {
        Err(reply[1])
    }
}

/// A service that handles each connection in a thread.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let handle = handle.clone();
            thread::spawn(move || handle(stream));
        }
    });
    port
}

pub(crate) fn echo(mut stream: TcpStream) {
    let mut reader = stream.try_clone().unwrap();
    // The other end may reset the connection.
    let _ended = io::copy(&mut reader, &mut stream);
    let _ended = stream.shutdown(Shutdown::Write);
}

pub(crate) fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..=250)
        .cycle()
        .skip(usize::from(seed))
        .take(len)
        .collect()
}

/// Sends and reads back `len` bytes of a pattern through an echo.
pub(crate) fn exchange(mut stream: TcpStream, seed: u8, len: usize) {
    let bytes = pattern(seed, len);
    let mut writer = stream.try_clone().unwrap();
    let sent = bytes.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    sender.join().unwrap();
    assert!(
        back == bytes,
        "{} of {len} bytes came back, or others",
        back.len()
    );
}

/// What a service heard on a connection, and how that ended: by this error, or cleanly.
pub(crate) type Heard = (Vec<u8>, Option<io::ErrorKind>);

/// A connection to `to` from a given port of a loopback address.
pub(crate) fn stream_from(host: u8, port: u16, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let local = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), port);
    socket.bind(&SocketAddr::from(local).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Greeting and request in one piece.
pub(crate) fn ask(mut stream: &TcpStream, address: &[u8]) {
    stream
        .write_all(&[&[5, 1, 0, 5, 1, 0], address].concat())
        .unwrap();
}

/// The answer to [`ask`].
pub(crate) fn answered(mut stream: &TcpStream) -> u8 {
    let mut replies = [0; 12];
    stream.read_exact(&mut replies).unwrap();
    replies[3]
}

/// Closes with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// There and back through an echo.
pub(crate) fn ping(mut stream: &TcpStream, word: &[u8]) {
    stream.write_all(word).unwrap();
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, word);
}

/// A port that is free on every loopback address.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
