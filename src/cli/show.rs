//! `muses status` and `muses kill`.

use std::{fmt::Write, path::Path};

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::seen;
use crate::cli::setup;
use crate::control::client::{self, CallError};
use crate::control::protocol::{Request, Response};
use crate::control::service::Kill;
use crate::control::status::{ChannelStatus, LinkStatus, SessionStatus, Status};

/// Asks the daemon for its state and gives the text to print.
pub(super) fn status(asked: Option<&Path>, json: bool) -> Result<String, Failure> {
    let status = ask(asked)?;
    if json {
        pretty(&status)
    } else {
        Ok(table(&status))
    }
}

/// Asks the daemon for its state.
pub(super) fn ask(asked: Option<&Path>) -> Result<Status, Failure> {
    let places = setup::control_places(asked)?;
    match client::request(&places, &Request::Status {})? {
        Response::Status(status) => Ok(*status),
        other => Err(unexpected(&other)),
    }
}

/// JSON for scripts, and for people who look.
pub(super) fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|e| Failure::new(Exit::Failed, e.to_string()))
}

/// Asks the daemon to end a session or channel.
pub(super) fn kill(asked: Option<&Path>, what: Kill) -> Result<String, Failure> {
    let places = setup::control_places(asked)?;
    let response = client::request(&places, &Request::Kill(what))?;
    let Response::Killed(found) = response else {
        return Err(unexpected(&response));
    };
    if found {
        return Ok(String::new());
    }
    let kind = match what {
        Kill::Session(_) => "session",
        Kill::Channel { .. } => "channel",
    };
    let text = format!("there is no {kind} {what}; see: muses status");
    Err(Failure::new(Exit::Failed, text))
}

pub(super) fn unexpected(response: &Response) -> Failure {
    CallError::Nonsense(format!("{response:?}")).into()
}

/// The tables for a person: how long ago the far side answered comes first.
fn table(status: &Status) -> String {
    let mut text = format!(
        "muses {}, up {}, memory {} of {}\nname {}\n",
        status.version,
        age(status.uptime_s),
        size(status.memory.used),
        size(status.memory.limit),
        status.name
    );
    for listener in &status.listeners {
        let _ = writeln!(text, "listening: {listener}");
    }
    let head = [
        "answered",
        "session",
        "peer",
        "state",
        "for",
        "rtt",
        "handshakes",
        "resumes",
        "channels",
        "reason",
    ];
    section(
        &mut text,
        "sessions",
        &head,
        status.sessions.iter().map(session),
    );
    let head = [
        "channel", "state", "age", "sent", "received", "unacked", "target",
    ];
    let channels = status.sessions.iter().flat_map(|s| &s.channels);
    section(&mut text, "channels", &head, channels.map(channel));
    let head = [
        "answered",
        "peer",
        "endpoint",
        "direction",
        "state",
        "for",
        "error",
    ];
    section(&mut text, "links", &head, status.links.iter().map(link));
    seen::overlay(&mut text, status);
    text
}

fn session(s: &SessionStatus) -> Vec<String> {
    vec![
        answered(s.last_answer_ms),
        s.id.to_string(),
        peer(&s.peer, s.alias.as_deref()),
        s.state.clone(),
        age(s.since_s),
        s.rtt_ms
            .map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms")),
        s.handshakes.to_string(),
        s.resumes.to_string(),
        s.channels.len().to_string(),
        s.reason.clone(),
    ]
}

fn channel(c: &ChannelStatus) -> Vec<String> {
    vec![
        c.id.clone(),
        c.state.clone(),
        age(c.age_s),
        size(c.sent),
        size(c.received),
        size(c.unacked),
        c.target.clone(),
    ]
}

fn link(l: &LinkStatus) -> Vec<String> {
    vec![
        answered(l.last_answer_ms),
        peer(&l.peer, l.alias.as_deref()),
        l.endpoint.clone(),
        l.direction.clone(),
        l.state.clone(),
        age(l.since_s),
        match (&l.error, l.error_age_s) {
            (Some(error), Some(since)) => format!("{error} ({} ago)", age(since)),
            (error, _) => error.clone().unwrap_or_default(),
        },
    ]
}

/// A table with a title, or that there is nothing.
pub(super) fn section(
    text: &mut String,
    title: &str,
    head: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let mut lines = vec![head.iter().map(|&h| h.to_owned()).collect::<Vec<_>>()];
    // Texts of the other side or of the system must not steer the terminal.
    lines.extend(rows.map(|row| {
        row.iter()
            .map(|cell| cell.replace(char::is_control, "?"))
            .collect()
    }));
    if lines.len() == 1 {
        let _ = writeln!(text, "\n{title}: none");
        return;
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let _ = writeln!(text, "\n{title}:");
    for line in &lines {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(row, "  {cell:<width$}");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    }
}

/// The alias, else the first twelve characters of the name.
pub(super) fn peer(name: &str, alias: Option<&str>) -> String {
    alias.map_or_else(|| name.chars().take(12).collect(), str::to_owned)
}

pub(super) fn answered(ms: Option<u64>) -> String {
    ms.map_or_else(
        || "never".to_owned(),
        |ms| match ms {
            0..1000 => format!("{ms} ms"),
            _ => age(std::time::Duration::from_millis(ms).as_secs_f64()),
        },
    )
}

/// Seconds in the two largest fitting units.
pub(super) fn age(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let all = std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |d| d.as_secs());
    let (days, hours, minutes) = (all / 86_400, all / 3600 % 24, all / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {} s", all % 60),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

pub(super) fn size(bytes: u64) -> String {
    let (unit, shift) = match bytes {
        0..1024 => return format!("{bytes} B"),
        1024..1_048_576 => ("KiB", 10),
        1_048_576..1_073_741_824 => ("MiB", 20),
        _ => ("GiB", 30),
    };
    let tenths = (u128::from(bytes) * 10) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Status {
        let channel = ChannelStatus {
            id: "3/1f".to_owned(),
            target: "db.example:5432".to_owned(),
            sent: 1536,
            ..ChannelStatus::default()
        };
        let session = SessionStatus {
            id: 3,
            peer: "aeabcdefghijklmnop".to_owned(),
            state: "suspended".to_owned(),
            reason: "link lost\x1b[2J".to_owned(),
            since_s: 75.0,
            last_answer_ms: Some(76_100),
            handshakes: 1,
            channels: vec![channel],
            ..SessionStatus::default()
        };
        Status {
            sessions: vec![session],
            ..Status::default()
        }
    }

    #[test]
    fn the_age_of_the_last_answer_comes_first_and_nothing_steers_the_terminal() {
        let text = table(&sample());
        let mut lines = text.lines().skip_while(|line| *line != "sessions:");
        let head = lines.nth(1).unwrap();
        assert!(head.trim_start().starts_with("answered"), "{head}");
        let row = lines.next().unwrap();
        assert!(row.trim_start().starts_with("1 min 16 s"), "{row}");
        assert!(row.contains("aeabcdefghij  "), "{row}");
        assert!(text.contains("3/1f"));
        assert!(text.contains("1.5 KiB"));
        assert!(text.contains("links: none"));
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn json_has_the_fields_of_the_contract() {
        let json = serde_json::to_value(sample()).unwrap();
        let session = &json["sessions"][0];
        for field in [
            "peer",
            "state",
            "reason",
            "since",
            "last_answer_ms",
            "handshakes",
            "resumes",
            "channels",
        ] {
            assert!(session.get(field).is_some(), "{field}");
        }
        assert!(json["links"].is_array());
        assert!(json["memory"]["used"].is_u64());
        assert!(json["memory"]["limit"].is_u64());
    }

    #[test]
    fn ages_and_sizes_are_short() {
        assert_eq!(age(-1.0), "0.0 s");
        assert_eq!(age(3.12), "3.1 s");
        assert_eq!(age(61.0), "1 min 1 s");
        assert_eq!(age(7322.0), "2 h 2 min");
        assert_eq!(age(90_000.0), "1 d 1 h");
        assert!(age(f64::INFINITY).ends_with(" h"));
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1 << 20), "1.0 MiB");
        assert!(size(u64::MAX).ends_with("GiB"));
        assert_eq!(answered(None), "never");
        assert_eq!(answered(Some(12)), "12 ms");
    }
}
