//! HTTP CONNECT (RFC 9110, section 9.3.6), on the same port as SOCKS5.

use data_encoding::BASE64;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use crate::proxy::preface::Preface;
use crate::proxy::request::{Refusal, Request};
use crate::proxy::users::Users;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Host;

/// Longest request head in bytes, early data included. Chosen: what common servers allow.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most header lines in a head. Chosen: far above what clients send with CONNECT.
const HEADERS_MAX: usize = 64;

const SUCCESS: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What the first bytes of a client hold.
enum Head {
    /// No complete head.
    Partial,
    /// A request for a connection, in this many bytes.
    Connect { host: Host, port: u16, len: usize },
    /// A head that leads to no connection.
    Refused(Refusal),
}

/// Tells the client why its channel could not be opened.
pub(crate) fn failure(failure: OpenFailure) -> Vec<u8> {
    let (status, reason) = failure.http_status();
    answer(status, reason, "", &format!("muses: {failure}"))
}

/// Reads an HTTP head, whose first byte is known to be a letter.
pub(crate) async fn read<S>(
    preface: &mut Preface<S>,
    users: Option<&Users>,
) -> Result<Request, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    preface.widen(HEAD_BYTES_MAX);
    let refusal = loop {
        match parse(preface.unread(), users) {
            Head::Connect { host, port, len } => {
                preface.take(len);
                return Ok(Request {
                    host,
                    port,
                    success: SUCCESS.to_vec(),
                    failure,
                });
            }
            Head::Refused(refusal) => break refusal,
            Head::Partial if preface.is_full() => break Refusal::TooLarge,
            Head::Partial => {}
        }
        if preface.fill().await.map_err(Refusal::Gone)? == 0 {
            return Err(Refusal::ended());
        }
    };
    preface.say(&explain(&refusal));
    Err(refusal)
}

fn parse(bytes: &[u8], users: Option<&Users>) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(httparse::Error::TooManyHeaders) => return Head::Refused(Refusal::TooLarge),
        Err(_) => return Head::Refused(Refusal::Malformed),
    };
    if head.method != Some("CONNECT") {
        return Head::Refused(Refusal::Command);
    }
    if users.is_some_and(|users| !is_admitted(&head, users)) {
        return Head::Refused(Refusal::Login);
    }
    let Some((host, port)) = head.path.and_then(authority) else {
        return Head::Refused(Refusal::Malformed);
    };
    match host.parse() {
        Ok(host) => Head::Connect { host, port, len },
        Err(_) => Head::Refused(Refusal::Host),
    }
}

/// `host:port`; an IPv6 address stands in brackets.
fn authority(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    if host.contains(':') && !host.starts_with('[') {
        return None;
    }
    // The parser of integers would let a sign pass.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// Whether the head carries a user and password (RFC 7617) that may enter.
fn is_admitted(head: &httparse::Request<'_, '_>, users: &Users) -> bool {
    let Some(header) = head
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("Proxy-Authorization"))
    else {
        return false;
    };
    let mut words = header.value.splitn(2, |b| *b == b' ');
    let scheme = words.next().unwrap_or_default();
    let coded = words.next().unwrap_or_default().trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return false;
    }
    let Ok(login) = BASE64.decode(coded).map(Zeroizing::new) else {
        return false;
    };
    let mut parts = login.splitn(2, |b| *b == b':');
    let name = parts.next().unwrap_or_default();
    parts.next().is_some_and(|secret| users.admit(name, secret))
}

/// The reply to a head that leads to no connection; nothing of the head is repeated in it.
fn explain(refusal: &Refusal) -> Vec<u8> {
    match refusal {
        Refusal::Login => answer(
            407,
            "Proxy Authentication Required",
            "Proxy-Authenticate: Basic realm=\"muses\"\r\n",
            "muses: user and password required",
        ),
        Refusal::Command => answer(
            405,
            "Method Not Allowed",
            "Allow: CONNECT\r\n",
            "muses: this port speaks SOCKS5 and HTTP CONNECT only; for plain http:// addresses use it as a SOCKS5 proxy",
        ),
        Refusal::TooLarge => answer(
            431,
            "Request Header Fields Too Large",
            "",
            "muses: request head too large",
        ),
        Refusal::Gone(_)
        | Refusal::Stranger(_)
        | Refusal::Method
        | Refusal::AddressType
        | Refusal::Host
        | Refusal::Malformed => answer(
            400,
            "Bad Request",
            "",
            "muses: CONNECT needs host:port, with an IPv6 address in brackets",
        ),
    }
}

fn answer(status: u16, reason: &str, headers: &str, text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} {reason}\r\n{headers}Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    )
    .into_bytes()
}
