//! The overlay as the running node sees it: its part of `muses status`, and `muses map`, `lookup` and `trace`.

use std::{fmt::Write, fs, path::Path, time::Duration};

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::show::{age, answered, ask, peer, pretty, section, size, unexpected};
use crate::cli::{map, print, setup};
use crate::control::client::{self, CallError};
use crate::control::overlay::{
    FoundStatus, HopStatus, NeighbourStatus, OverlayStatus, PlaceStatus, WayStatus,
};
use crate::control::protocol::{Request, Response};
use crate::control::status::{SessionStatus, Status};
use crate::net::clock::calendar;
use crate::time::Calendar;
use crate::wire::failure::OpenFailure;

/// What `muses trace --json` prints.
#[derive(Serialize)]
struct Trace<'a> {
    name: &'a str,
    hops: &'a [HopStatus],
    reached: bool,
}

/// Writes the map into a file, or gives it for stdout.
pub(super) fn map(asked: Option<&Path>, file: &Path) -> Result<String, Failure> {
    let svg = map::svg(&ask(asked)?);
    if file == Path::new("-") {
        return Ok(svg);
    }
    let shown = file.display();
    fs::write(file, svg)
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot write {shown}: {e}")))?;
    Ok(format!("{shown}\n"))
}

/// Asks the directory and gives the text to print.
pub(super) fn lookup(asked: Option<&Path>, json: bool, name: &str) -> Result<String, Failure> {
    let places = setup::control_places(asked)?;
    let name = name.to_owned();
    match client::request(&places, &Request::Lookup { name })? {
        Response::Found(found) if json => pretty(&found),
        Response::Found(found) => Ok(record(&found, calendar())),
        Response::Failed { exit, message, .. } => Err(CallError::Failed { exit, message }.into()),
        other => Err(unexpected(&other)),
    }
}

/// Asks for the way to a node and prints each step as it comes, or all of them as JSON.
pub(super) fn trace(asked: Option<&Path>, json: bool, name: &str) -> Result<Exit, Failure> {
    let places = setup::control_places(asked)?;
    let mut hops = Vec::new();
    let mut printed = Ok(Exit::Clean);
    let reached = client::trace(&places, name, |hop| {
        if !json && printed.is_ok() {
            printed = print(&step(&hop));
        }
        hops.push(hop);
    })?;
    printed?;
    if json {
        let hops = hops.as_slice();
        print(&pretty(&Trace {
            name,
            hops,
            reached,
        })?)?;
    } else if reached && hops.is_empty() {
        print("this node itself\n")?;
    }
    if reached {
        return Ok(Exit::Clean);
    }
    let exit = Exit::Told(OpenFailure::NoPath.exit_code());
    Err(Failure::new(exit, format!("{name} was not reached")))
}

/// Lines of a record for a person, at `now`.
fn record(found: &FoundStatus, now: Calendar) -> String {
    let mut text = format!("name {}\n", found.name);
    if let Some(alias) = &found.alias {
        let _ = writeln!(text, "alias {alias}");
    }
    for place in &found.places {
        let line = format!(
            "place {place} of tree {}, term {}\n",
            place.tree, place.term
        );
        // Places that differ in what is not shown.
        if !text.ends_with(&line) {
            text.push_str(&line);
        }
    }
    for endpoint in &found.endpoints {
        let _ = writeln!(text, "endpoint {endpoint}");
    }
    let seconds = |span: u64| Duration::from_secs(span).as_secs_f64();
    let old = seconds(now.0.saturating_sub(found.seq / 1_000_000));
    let left = seconds(found.not_after.saturating_sub(now.0));
    let _ = writeln!(text, "record {}, {} old", found.seq, age(old));
    let _ = writeln!(
        text,
        "certificate {}, holds for another {}",
        found.serial,
        age(left)
    );
    harmless(&text)
}

/// The line of a step of a trace.
fn step(hop: &HopStatus) -> String {
    let who = hop
        .name
        .as_deref()
        .map_or_else(|| "*".to_owned(), |name| peer(name, hop.alias.as_deref()));
    let ms = millis(hop.ms);
    let place = place(hop.place.as_ref());
    harmless(&format!("{:>3}  {who:<20}  {ms:>9}  {place}", hop.hop)) + "\n"
}

/// Texts of the other side must not steer the terminal.
fn harmless(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

/// What `muses status` shows of the overlay.
pub(super) fn overlay(text: &mut String, status: &Status) {
    let Some(overlay) = &status.overlay else {
        return;
    };
    text.push('\n');
    text.push_str(&harmless(&summary(overlay)));
    let head = [
        "answered",
        "neighbour",
        "role",
        "health",
        "rtt",
        "links",
        "place",
    ];
    let rows = overlay.neighbours.iter().map(neighbour);
    section(text, "neighbours", &head, rows);
    let head = ["session", "peer", "way", "hops", "place"];
    section(text, "routes", &head, status.sessions.iter().map(route));
}

fn summary(overlay: &OverlayStatus) -> String {
    let mut text = match &overlay.place {
        Some(place) => format!(
            "overlay: place {place} of tree {}, term {}, degree {}\n",
            place.tree, place.term, overlay.degree
        ),
        None => "overlay: no place\n".to_owned(),
    };
    let name = |name: Option<&String>, alias: Option<&String>| {
        name.map_or_else(
            || "none".to_owned(),
            |name| peer(name, alias.map(String::as_str)),
        )
    };
    let root = name(overlay.root.as_ref(), overlay.root_alias.as_ref());
    let parent = name(overlay.parent.as_ref(), overlay.parent_alias.as_ref());
    let _ = writeln!(
        text,
        "  root {root}, heard {} ago, about {}",
        answered(Some(overlay.root_heard_ms)),
        count(overlay.size, "node", "nodes")
    );
    let _ = writeln!(
        text,
        "  parent {parent}, {} below, {}",
        count(overlay.children, "child", "children"),
        if overlay.relays {
            "carries frames of others"
        } else {
            "carries nothing of others"
        }
    );
    if overlay.parent.is_none() && overlay.size == 1 && !overlay.neighbours.is_empty() {
        text.push_str("  no neighbour has a place for it: it reaches none but its neighbours\n");
    }
    for place in &overlay.former {
        let _ = writeln!(text, "  formerly {place} of tree {}", place.tree);
    }
    let relay = &overlay.relay;
    let _ = writeln!(
        text,
        "  relayed {}, {}; marked {}, dropped {} that found no room and {} that came too fast; {} wait",
        count(relay.frames, "frame", "frames"),
        size(relay.bytes),
        relay.marked,
        relay.overflowed,
        relay.over_rate,
        size(relay.waiting)
    );
    if let Some(directory) = &overlay.directory {
        let _ = writeln!(
            text,
            "  directory: {}, {}; passed on {}, refused {}",
            count(directory.records, "record", "records"),
            size(directory.bytes),
            directory.relayed,
            directory.limited
        );
    }
    text
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn neighbour(n: &NeighbourStatus) -> Vec<String> {
    vec![
        answered(Some(n.last_answer_ms)),
        peer(&n.name, n.alias.as_deref()),
        n.role.clone(),
        n.health.clone(),
        millis(n.rtt_ms),
        n.links.to_string(),
        place(n.place.as_ref()),
    ]
}

fn route(s: &SessionStatus) -> Vec<String> {
    let WayStatus {
        kind,
        by,
        by_alias,
        hops,
        place: at,
    } = &s.way;
    let way = by.as_deref().map_or_else(
        || kind.clone(),
        |by| format!("{kind} by {}", peer(by, by_alias.as_deref())),
    );
    vec![
        s.id.to_string(),
        peer(&s.peer, s.alias.as_deref()),
        way,
        hops.map_or_else(|| "-".to_owned(), |hops| hops.to_string()),
        place(at.as_ref()),
    ]
}

fn place(place: Option<&PlaceStatus>) -> String {
    place.map_or_else(|| "-".to_owned(), PlaceStatus::to_string)
}

fn millis(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::overlay::{DirectoryStatus, RelayStatus};

    fn at(path: &[(u32, u32)]) -> PlaceStatus {
        PlaceStatus {
            tree: "00000000000000aa".to_owned(),
            term: 3,
            path: path.to_vec(),
            ..PlaceStatus::default()
        }
    }

    fn sample() -> Status {
        let overlay = OverlayStatus {
            degree: 16,
            relays: true,
            place: Some(at(&[(3, 9)])),
            root: Some("aerootrootrootroot".to_owned()),
            root_alias: Some("top".to_owned()),
            root_heard_ms: 800,
            size: 8,
            parent: Some("aeparentparentparent".to_owned()),
            children: 1,
            neighbours: vec![NeighbourStatus {
                name: "aeparentparentparent".to_owned(),
                alias: Some("up\x1b[2J".to_owned()),
                role: "parent".to_owned(),
                health: "good".to_owned(),
                last_answer_ms: 76_100,
                rtt_ms: Some(12.34),
                links: 2,
                place: Some(at(&[])),
            }],
            relay: RelayStatus {
                frames: 7,
                bytes: 2048,
                ..RelayStatus::default()
            },
            directory: Some(DirectoryStatus {
                records: 5,
                bytes: 1024,
                ..DirectoryStatus::default()
            }),
            ..OverlayStatus::default()
        };
        let session = SessionStatus {
            id: 4,
            peer: "aefarfarfarfarfar".to_owned(),
            way: WayStatus {
                kind: "relayed".to_owned(),
                by: Some("aeparentparentparent".to_owned()),
                by_alias: Some("up".to_owned()),
                hops: Some(3),
                place: Some(at(&[(1, 2), (2, 5)])),
            },
            ..SessionStatus::default()
        };
        Status {
            sessions: vec![session],
            overlay: Some(overlay),
            ..Status::default()
        }
    }

    /// Words of the line that follows this one by `behind`.
    fn words(text: &str, line: &str, behind: usize) -> Vec<String> {
        let mut lines = text.lines().skip_while(|l| *l != line);
        let line = lines.nth(behind).unwrap_or_default();
        line.split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_overlay_is_told_with_health_age_and_ways() {
        let mut text = String::new();
        overlay(&mut text, &sample());
        assert!(text.contains("place /3 of tree 00000000000000aa, term 3, degree 16"));
        assert!(text.contains("root top, heard 800 ms ago, about 8 nodes"));
        assert!(text.contains("parent aeparentpare, 1 child below, carries frames"));
        assert!(text.contains("relayed 7 frames, 2.0 KiB"));
        assert!(text.contains("directory: 5 records, 1.0 KiB"));
        assert_eq!(
            words(&text, "neighbours:", 2),
            [
                "1 min 16 s",
                "up?[2J",
                "parent",
                "good",
                "12.3 ms",
                "2",
                "/"
            ]
        );
        assert_eq!(
            words(&text, "routes:", 2),
            ["4", "aefarfarfarf", "relayed by up", "3", "/1/2"]
        );
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn a_node_alone_has_little_to_tell() {
        let mut text = String::new();
        overlay(&mut text, &Status::default());
        assert_eq!(text, "");
        let status = Status {
            overlay: Some(OverlayStatus::default()),
            ..Status::default()
        };
        overlay(&mut text, &status);
        assert!(text.contains("no place"));
        assert!(text.contains("parent none, 0 children below, carries nothing"));
        assert!(!text.contains("directory"));
        assert!(text.contains("neighbours: none"));
        assert!(text.contains("routes: none"));
    }

    #[test]
    fn steps_and_records_are_short_lines() {
        let hop = HopStatus {
            hop: 2,
            name: Some("aefarfarfarfarfar".to_owned()),
            alias: Some("far".to_owned()),
            place: Some(at(&[(1, 2)])),
            ms: Some(40.26),
        };
        let line = step(&hop);
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            ["2", "far", "40.3", "ms", "/1"]
        );
        let silent = HopStatus {
            hop: 3,
            ..HopStatus::default()
        };
        assert_eq!(
            step(&silent).split_whitespace().collect::<Vec<_>>(),
            ["3", "*", "-", "-"]
        );
        let found = FoundStatus {
            name: "ae".to_owned(),
            places: vec![at(&[(1, 2)])],
            endpoints: vec!["gw.example\x07:7700".to_owned()],
            seq: 1_000_000_017,
            serial: 5,
            not_after: 88_060,
            ..FoundStatus::default()
        };
        assert_eq!(
            record(&found, Calendar(1_060)),
            "name ae\nplace /1 of tree 00000000000000aa, term 3\nendpoint gw.example?:7700\n\
             record 1000000017, 1 min 0 s old\ncertificate 5, holds for another 1 d 0 h\n"
        );
    }
}
