//! Single values: text with a unit or a shape becomes a checked value, or a remedy.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;

use crate::wire::target::Host;
use crate::wire::target::HostName;
use crate::wire::target::LABEL_MAX;

/// Length of the prefix of IPv6 addresses that stand for IPv4 ones.
const MAPPED_LEN: u8 = 96;
/// Longest network id in bytes; it travels in handshake prologues.
const NETWORK_ID_MAX: usize = 64;
/// Longest user name and password in bytes: SOCKS5 has one length byte (RFC 1929, section 2).
const CREDENTIAL_MAX: usize = 255;

/// The known word most like `word`, if it is at all alike.
pub(super) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let alike = word.chars().count() / 2;
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= alike.max(1))
        .map(|(_, candidate)| candidate)
}

/// The word of `words` that `text` is.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    if let Some(near) = nearest(text, words.iter().map(|(word, _)| *word)) {
        return Err(format!(
            "unknown value \"{text}\", did you mean \"{near}\"?"
        ));
    }
    let words: Vec<String> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    Err(format!(
        "unknown value \"{text}\", write {}",
        words.join(" or ")
    ))
}

/// A span of time such as "30s", within `range`.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let expected = "write a whole number with a unit: ms, s, m, h or d, such as \"30s\"";
    let (number, unit) = split_unit(text).ok_or_else(|| format!("\"{text}\": {expected}"))?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("\"{text}\": {expected}")),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .filter(|span| range.contains(span))
        .ok_or_else(|| {
            format!(
                "\"{text}\" is out of range: write {} to {}",
                show_duration(*range.start()),
                show_duration(*range.end())
            )
        })
}

/// A span of time as the file writes it.
pub(super) fn show_duration(span: Duration) -> String {
    let ms = span.as_millis();
    for (unit_ms, unit) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// An amount of memory such as "512 MiB", in bytes, within `range`.
pub(super) fn size(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let expected = "write a whole number with a unit: KiB, MiB, GiB or TiB, such as \"512 MiB\"";
    let (number, unit) = split_unit(text).ok_or_else(|| format!("\"{text}\": {expected}"))?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(format!("\"{text}\": {expected}")),
    };
    number
        .checked_mul(1 << shift)
        .filter(|bytes| range.contains(bytes))
        .ok_or_else(|| {
            format!(
                "\"{text}\" is out of range: write {} to {} MiB",
                range.start() >> 20,
                range.end() >> 20
            )
        })
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

/// An address to listen on.
pub(super) fn listener(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "\"{text}\" is no ADDRESS:PORT: write an address of this machine and a port, \
             such as \"127.0.0.1:1080\" or \"[::1]:1080\""
        )
    })
}

/// Addresses that begin alike, or one.
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let net = net.map_err(|_| {
        format!(
            "\"{text}\" is no address or prefix: write such as \"192.168.1.0/24\" or \"fd00::/8\""
        )
    })?;
    if net.trunc() != net {
        let (trunc, address) = (net.trunc(), net.addr());
        return Err(format!(
            "\"{text}\" has bits behind its prefix: write \"{trunc}\" or \"{address}\""
        ));
    }
    // What comes from an IPv4 address is seen as that.
    if net.prefix_len() >= MAPPED_LEN && net.addr().to_canonical() != net.addr() {
        return Err(format!(
            "\"{text}\" matches nothing: write the IPv4 addresses as such"
        ));
    }
    Ok(net)
}

/// A host and a port from 1 up.
pub(super) fn host_port(text: &str) -> Result<(Host, u16), String> {
    let expected = || {
        format!(
            "\"{text}\" is no HOST:PORT: write a name or address and a port, \
             such as \"gw.example.org:7700\" or \"[2001:db8::1]:7700\""
        )
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("\"{text}\": put an IPv6 address into brackets"));
    }
    let port: u16 = port.parse().map_err(|_| expected())?;
    if port == 0 {
        return Err(format!("\"{text}\": port 0 cannot be dialled"));
    }
    let host = host
        .parse()
        .map_err(|error| format!("\"{text}\": {error}"))?;
    Ok((host, port))
}

/// The name of a service: one label.
pub(super) fn service(text: &str) -> Result<HostName, String> {
    match text.parse() {
        Ok(Host::Name(name)) if !text.contains('.') => Ok(name),
        _ => Err(format!(
            "\"{text}\" is no service name: write 1 to {LABEL_MAX} letters, digits, '-' or '_'"
        )),
    }
}

/// The id of an overlay.
pub(super) fn network_id(text: &str) -> Result<String, String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > NETWORK_ID_MAX || !text.bytes().all(fine) {
        return Err(format!(
            "\"{text}\": write 1 to {NETWORK_ID_MAX} letters, digits, '-', '_' or '.'"
        ));
    }
    Ok(text.to_owned())
}

/// Checks a user name of the proxy: it must fit into SOCKS5 and into HTTP Basic (RFC 7617).
pub(super) fn user(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > CREDENTIAL_MAX || text.contains([':', '\0', '\n', '\r']) {
        return Err(format!(
            "a user name has 1 to {CREDENTIAL_MAX} bytes and no ':'"
        ));
    }
    Ok(())
}

/// Checks a password of the proxy without repeating it.
pub(super) fn password(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > CREDENTIAL_MAX {
        return Err(format!("a password has 1 to {CREDENTIAL_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_TIMES: RangeInclusive<Duration> = Duration::ZERO..=Duration::MAX;
    const ALL_SIZES: RangeInclusive<u64> = 0..=u64::MAX;

    #[test]
    fn durations_and_sizes_need_a_unit_they_know() {
        for (text, ms) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("5 m", 300_000),
            ("5min", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text, &ALL_TIMES), Ok(Duration::from_millis(ms)));
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "3 weeks",
            "30S",
            "99999999999999999999s",
        ] {
            assert!(duration(text, &ALL_TIMES).is_err(), "{text}");
        }
        assert!(duration("18446744073709551615d", &ALL_TIMES).is_err());
        assert_eq!(size("512 MiB", &ALL_SIZES), Ok(512 << 20));
        assert_eq!(size("4GiB", &ALL_SIZES), Ok(4 << 30));
        for text in [
            "",
            "512",
            "MiB",
            "1 MB",
            "0.5 GiB",
            "18446744073709551615 TiB",
        ] {
            assert!(size(text, &ALL_SIZES).is_err(), "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back() {
        for ms in [1, 999, 1000, 1001, 60_000, 90_000, 3_600_000, 172_800_000] {
            let span = Duration::from_millis(ms);
            assert_eq!(duration(&show_duration(span), &ALL_TIMES), Ok(span));
        }
    }

    #[test]
    fn a_host_and_port_needs_both_and_brackets_around_ipv6() {
        assert!(host_port("gw.example.org:7700").is_ok());
        assert!(host_port("[2001:db8::1]:7700").is_ok());
        for text in [
            "", "gw", "gw:", ":22", "gw:0", "gw:65536", "::1:22", "g w:22", "[::1]",
        ] {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_word_is_found_only_when_it_is_alike() {
        let known = ["listen", "peers"];
        assert_eq!(nearest("listn", known.into_iter()), Some("listen"));
        assert_eq!(nearest("Peer", known.into_iter()), Some("peers"));
        assert_eq!(nearest("memory", known.into_iter()), None);
    }
}
