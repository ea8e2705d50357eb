//! Why a channel could not be opened, and what each audience is told about it.

use thiserror::Error;

/// Why an OPEN failed, at the far side or before it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum OpenFailure {
    /// Something that none of the others names.
    #[error("general failure")]
    General,
    /// The forwarder's grants, or the local routes, do not allow it.
    #[error("not allowed")]
    Denied,
    /// No route to the network.
    #[error("network unreachable")]
    NetworkUnreachable,
    /// No route to the host.
    #[error("host unreachable")]
    HostUnreachable,
    /// The service answered with a reset.
    #[error("connection refused")]
    Refused,
    /// The service did not answer in time.
    #[error("connection timed out")]
    TimedOut,
    /// The name does not resolve.
    #[error("unknown name")]
    UnknownName,
    /// A limit of the forwarder or of this node is reached.
    #[error("limit reached")]
    Limit,
    /// There was no path to the peer for `open_timeout`. Never sent by a peer.
    #[error("no path to the peer")]
    NoPath,
    /// The peer was lost, or somebody ended it, before the answer. Never sent by a peer.
    #[error("cut before it was open")]
    Cut,
}

/// One row per failure: the code on the wire (PROTOCOL.md), the SOCKS5 reply (RFC 1928, section 6),
/// the HTTP status, and the exit code of `muses connect`.
struct Row {
    wire: u8,
    socks: u8,
    http: (u16, &'static str),
    exit: u8,
}

impl OpenFailure {
    const ALL: [Self; 10] = [
        Self::General,
        Self::Denied,
        Self::NetworkUnreachable,
        Self::HostUnreachable,
        Self::Refused,
        Self::TimedOut,
        Self::UnknownName,
        Self::Limit,
        Self::NoPath,
        Self::Cut,
    ];

    const fn row(self) -> Row {
        let (wire, socks, http, exit) = match self {
            Self::General => (1, 0x01, (502, "Bad Gateway"), 1),
            Self::Denied => (2, 0x02, (403, "Forbidden"), 77),
            Self::NetworkUnreachable => (3, 0x03, (502, "Bad Gateway"), 113),
            Self::HostUnreachable => (4, 0x04, (502, "Bad Gateway"), 113),
            Self::Refused => (5, 0x05, (502, "Bad Gateway"), 111),
            Self::TimedOut => (6, 0x06, (504, "Gateway Timeout"), 75),
            Self::UnknownName => (7, 0x04, (502, "Bad Gateway"), 68),
            Self::Limit => (8, 0x01, (503, "Service Unavailable"), 75),
            Self::NoPath => (9, 0x04, (504, "Gateway Timeout"), 75),
            Self::Cut => (10, 0x01, (502, "Bad Gateway"), 76),
        };
        Row {
            wire,
            socks,
            http,
            exit,
        }
    }

    /// The code in OPEN_FAILED.
    pub const fn wire_code(self) -> u8 {
        self.row().wire
    }

    /// The failure behind a code of OPEN_FAILED; an unknown code is a general failure.
    pub fn from_wire_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|f| f.wire_code() == code)
            .unwrap_or(Self::General)
    }

    /// The reply field of SOCKS5.
    pub const fn socks_reply(self) -> u8 {
        self.row().socks
    }

    /// Status and reason phrase for HTTP CONNECT.
    pub const fn http_status(self) -> (u16, &'static str) {
        self.row().http
    }

    /// Exit code of `muses connect`.
    pub const fn exit_code(self) -> u8 {
        self.row().exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_reads_back_and_the_required_codes_stand() {
        for failure in OpenFailure::ALL {
            assert_eq!(OpenFailure::from_wire_code(failure.wire_code()), failure);
        }
        assert_eq!(OpenFailure::from_wire_code(250), OpenFailure::General);
        assert_eq!(OpenFailure::Refused.socks_reply(), 0x05);
        assert_eq!(OpenFailure::Denied.socks_reply(), 0x02);
        assert_eq!(OpenFailure::NoPath.socks_reply(), 0x04);
        assert_eq!(OpenFailure::Refused.exit_code(), 111);
        assert_eq!(OpenFailure::UnknownName.exit_code(), 68);
    }
}
