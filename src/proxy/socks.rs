//! SOCKS5 (RFC 1928, 1929): login and CONNECT.
//!
//! Method negotiation, the request and the replies to it are the work of `fast-socks5`, over a
//! [`Preface`] that collects its writes. Three things are done here instead:
//!
//! - The login. The crate logs user and password at debug level (R-G3), refuses what is not UTF-8
//!   without an answer, and ends an empty password silently.
//! - Replies to a name that is not UTF-8 and to a request of another version: the crate answers the
//!   first with "connection refused", which would be a lie about the far side, and the second not at
//!   all. Both hear "general failure" (R-F4).
//! - Failures of the far side, which come long after the crate is done.
//!
//! The crate's own resolver is never called: names go to the far side (R-F4).

use std::net::{Ipv4Addr, SocketAddr};

use fast_socks5::server::{
    AuthMethod, AuthMethodSuccessState, Socks5ServerProtocol, SocksServerError,
};
use fast_socks5::util::target_addr::{AddrError, TargetAddr};
use fast_socks5::{ReplyError, Socks5Command};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use zeroize::Zeroizing;

use crate::proxy::preface::Preface;
use crate::proxy::request::{Refusal, Request};
use crate::proxy::users::Users;
use crate::wire::failure::OpenFailure;
use crate::wire::target::Host;

/// The bound address of every reply. The true one is the far side's affair; clients ignore it.
const BOUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Version of the login (RFC 1929).
const LOGIN_VERSION: u8 = 0x01;
const LOGIN_ACCEPTED: u8 = 0x00;
const LOGIN_REFUSED: u8 = 0x01;

/// Tells the client why its channel could not be opened.
pub(crate) fn failure(failure: OpenFailure) -> Vec<u8> {
    reply(failure.socks_reply())
}

fn reply(code: u8) -> Vec<u8> {
    vec![0x05, code, 0x00, 0x01, 0, 0, 0, 0, 0, 0]
}

/// How a client logs in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Login {
    /// Not at all.
    Open,
    /// With user and password.
    Password,
}

/// A method that the client was told to follow.
struct Chosen<T> {
    login: Login,
    inner: T,
}

/// A client that may go on to its request.
struct Admitted<T>(T);

impl<T> AuthMethod<T> for Login {
    type StartingState = Chosen<T>;

    fn method_id(self) -> u8 {
        match self {
            Self::Open => 0x00,
            Self::Password => 0x02,
        }
    }

    fn new(self, inner: T) -> Chosen<T> {
        Chosen { login: self, inner }
    }
}

impl<T> AuthMethodSuccessState<T> for Admitted<T> {
    fn into_inner(self) -> T {
        self.0
    }
}

/// Reads a SOCKS5 preface, whose first byte is known to be right.
pub(crate) async fn read<S>(
    preface: &mut Preface<S>,
    users: Option<&Users>,
) -> Result<Request, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Where nobody needs a password, a client that insists on sending one may.
    let logins: &[Login] = match users {
        Some(_) => &[Login::Password],
        None => &[Login::Open, Login::Password],
    };
    let Chosen { login, inner } = Socks5ServerProtocol::start(&mut *preface)
        .negotiate_auth(logins)
        .await
        .map_err(unmet)?;
    if login == Login::Password {
        log_in(inner, users).await?;
    }
    // What follows is a reply to the request alone, which may still have to be replaced.
    inner.send().await.map_err(Refusal::Gone)?;
    let command = Socks5ServerProtocol::finish_auth(Admitted(inner))
        .read_command()
        .await;
    let (protocol, target) = match command {
        Ok((protocol, Socks5Command::TCPConnect, target)) => (protocol, target),
        Ok((protocol, Socks5Command::TCPBind | Socks5Command::UDPAssociate, _)) => {
            let told = protocol.reply_error(&ReplyError::CommandNotSupported).await;
            return Err(told.map_or(Refusal::Malformed, |()| Refusal::Command));
        }
        Err(error) => return Err(refuse(preface, error)),
    };
    let (host, port) = match target {
        TargetAddr::Ip(address) => (Ok(Host::Ip(address.ip())), address.port()),
        TargetAddr::Domain(name, port) => (name.parse(), port),
    };
    let Ok(host) = host else {
        let told = protocol.reply_error(&ReplyError::GeneralFailure).await;
        return Err(told.map_or(Refusal::Malformed, |()| Refusal::Host));
    };
    // It only gets written down here; the client hears it when the far side has answered (R-F12).
    protocol
        .reply_success(BOUND)
        .await
        .map_err(|_| Refusal::Malformed)?;
    Ok(Request {
        host,
        port,
        success: preface.unsay(),
        failure,
    })
}

/// Sorts out why no login was agreed on.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate's errors are of many more kinds, which do not occur here"
)]
fn unmet(error: SocksServerError) -> Refusal {
    match error {
        SocksServerError::AuthMethodUnacceptable(_) => Refusal::Method,
        SocksServerError::Io { source, .. } => Refusal::Gone(source),
        _ => Refusal::Malformed,
    }
}

/// Sorts out why there is no command, and replaces the crate's reply where it is wrong.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "all other errors are ways to fail at reading an address"
)]
fn refuse<S>(preface: &mut Preface<S>, error: SocksServerError) -> Refusal {
    match error {
        SocksServerError::UnknownCommand(_) => Refusal::Command,
        SocksServerError::AddrError(AddrError::IncorrectAddressType) => Refusal::AddressType,
        SocksServerError::AddrError(AddrError::Utf8(_)) => {
            preface.unsay();
            preface.say(&reply(OpenFailure::General.socks_reply()));
            Refusal::Host
        }
        SocksServerError::UnsupportedSocksVersion(_) => {
            preface.unsay();
            preface.say(&reply(OpenFailure::General.socks_reply()));
            Refusal::Malformed
        }
        SocksServerError::Io { source, .. } => {
            preface.unsay();
            Refusal::Gone(source)
        }
        _ => {
            preface.unsay();
            Refusal::ended()
        }
    }
}

/// User and password (RFC 1929). Without `users` any will do.
async fn log_in<S>(preface: &mut Preface<S>, users: Option<&Users>) -> Result<(), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let version = preface.read_u8().await.map_err(Refusal::Gone)?;
    if version != LOGIN_VERSION {
        preface.say(&[LOGIN_VERSION, LOGIN_REFUSED]);
        return Err(Refusal::Malformed);
    }
    let name = text(preface).await?;
    let secret = text(preface).await?;
    if users.is_some_and(|users| !users.admit(&name, &secret)) {
        preface.say(&[LOGIN_VERSION, LOGIN_REFUSED]);
        return Err(Refusal::Login);
    }
    preface.say(&[LOGIN_VERSION, LOGIN_ACCEPTED]);
    Ok(())
}

/// One length byte and as many bytes.
async fn text<S>(preface: &mut Preface<S>) -> Result<Zeroizing<Vec<u8>>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let len = preface.read_u8().await.map_err(Refusal::Gone)?;
    let mut text = Zeroizing::new(vec![0; usize::from(len)]);
    preface.read_exact(&mut text).await.map_err(Refusal::Gone)?;
    Ok(text)
}
