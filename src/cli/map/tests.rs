use super::*;
use crate::control::overlay::{NeighbourStatus, WayStatus};

const TREE: &str = "00000000000000aa";

fn at(path: &[(u32, u32)]) -> PlaceStatus {
    PlaceStatus {
        tree: TREE.to_owned(),
        term: 1,
        path: path.to_vec(),
        ..PlaceStatus::default()
    }
}

fn neighbour(name: &str, role: &str, path: &[(u32, u32)]) -> NeighbourStatus {
    NeighbourStatus {
        name: name.to_owned(),
        alias: Some(format!("{name}-alias")),
        role: role.to_owned(),
        place: Some(at(path)),
        ..NeighbourStatus::default()
    }
}

fn session(id: u32, peer: &str, way: WayStatus) -> SessionStatus {
    SessionStatus {
        id,
        peer: peer.to_owned(),
        way,
        ..SessionStatus::default()
    }
}

/// A node at /1/2 with parent, child and a link across the tree, and three sessions.
fn sample(degree: u32) -> Status {
    let relayed = WayStatus {
        kind: "relayed".to_owned(),
        by: Some("parent".to_owned()),
        place: Some(at(&[(3, 9), (1, 7)])),
        ..WayStatus::default()
    };
    let direct = WayStatus {
        kind: "direct".to_owned(),
        place: Some(at(&[(2, 5)])),
        ..WayStatus::default()
    };
    let nowhere = WayStatus {
        kind: "none".to_owned(),
        ..WayStatus::default()
    };
    let overlay = OverlayStatus {
        degree,
        place: Some(at(&[(1, 4), (2, 6)])),
        neighbours: vec![
            neighbour("parent", "parent", &[(1, 4)]),
            neighbour("child", "child", &[(1, 4), (2, 6), (1, 8)]),
            neighbour("across", "extra", &[(2, 5)]),
        ],
        ..OverlayStatus::default()
    };
    Status {
        name: "aeownownownown".to_owned(),
        sessions: vec![
            session(1, "far", relayed),
            session(2, "across", direct),
            session(3, "lost", nowhere),
        ],
        overlay: Some(overlay),
        ..Status::default()
    }
}

/// Checks that a document is well-formed XML, as far as ours goes: no comments, no sections, no declarations.
fn check_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut roots = 0;
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = rest[start..].find('>').expect("a tag ends") + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {tag}");
            continue;
        }
        let (tag, closed) = tag
            .strip_suffix('/')
            .map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphabetic()), "{name}");
        check_attributes(attributes);
        roots += usize::from(open.is_empty());
        if !closed {
            open.push(name);
        }
    }
    assert_eq!(rest.trim(), "");
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(roots, 1);
}

fn check_attributes(mut rest: &str) {
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").expect("name=\"value\"");
        let (value, behind) = behind.split_once('"').expect("a value ends");
        assert!(
            name.chars()
                .all(|c| c.is_ascii_alphabetic() || c == '-' || c == ':'),
            "{name}"
        );
        assert!(!seen.contains(&name), "{name} twice");
        seen.push(name);
        assert!(!value.contains('<'));
        check_text(value);
        assert!(behind.is_empty() || behind.starts_with(' '), "{behind}");
        rest = behind.trim_start();
    }
}

fn check_text(text: &str) {
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
    for entity in text.split('&').skip(1) {
        let (name, _) = entity.split_once(';').expect("an entity ends");
        assert!(
            ["amp", "lt", "gt", "quot", "apos"].contains(&name),
            "{name}"
        );
    }
}

#[test]
fn the_map_is_well_formed_and_needs_nothing_from_elsewhere() {
    for degree in [3, 4, 16, 256] {
        let text = svg(&sample(degree));
        check_xml(&text);
        let text = text.replacen("http://www.w3.org/2000/svg", "", 1);
        for word in [
            "href", "url(", "@import", "<script", "<image", "http", "NaN", "inf",
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }
    let alone = svg(&Status::default());
    check_xml(&alone);
    assert!(alone.contains("no place"));
}

#[test]
fn what_others_are_called_cannot_break_out() {
    let mut status = sample(4);
    let overlay = status.overlay.as_mut().unwrap();
    overlay.neighbours[0].alias = Some("</text><script a=\"'&".to_owned());
    overlay.neighbours[1].role = "\u{1b}<b>".to_owned();
    status.sessions[0].peer = "<x>&amp;\u{ffff}".to_owned();
    let text = svg(&status);
    check_xml(&text);
    assert!(!text.contains("<script"));
    assert!(text.contains("&lt;/text&gt;"));
    assert!(text.contains("&amp;amp;"));
}

#[test]
fn everything_that_is_known_is_drawn_once() {
    let text = svg(&sample(4));
    let count = |word: &str| text.matches(word).count();
    // The root and the other peer's parent are known only because others hang below them.
    assert_eq!(count("class=\"unknown\""), 2);
    assert_eq!(count("class=\"known\""), 4, "parent, child, across, far");
    assert_eq!(count("class=\"own\""), 1);
    assert_eq!(count("class=\"tree\""), 6);
    assert_eq!(
        count("class=\"extra\""),
        1,
        "parent and child are in the tree"
    );
    assert_eq!(count("class=\"session\""), 2, "one goes nowhere");
    assert!(text.contains("<title>parent-alias at /1 (parent, parent)</title>"));
    assert!(text.contains(">aeownownowno</text>"));
    assert!(text.contains("1 more known"), "the lost one");
    let mut status = sample(4);
    let overlay = status.overlay.as_mut().unwrap();
    overlay.neighbours[2].place = None;
    overlay.neighbours[1].place.as_mut().unwrap().tree = "ff".to_owned();
    assert!(svg(&status).contains("3 more known"));
}

#[test]
fn a_later_root_is_at_its_place_and_in_the_middle() {
    let mut status = sample(16);
    let overlay = status.overlay.as_mut().unwrap();
    overlay.place = Some(at(&[(2, 6)]));
    overlay.neighbours = vec![neighbour("boss", "parent", &[(1, 4)])];
    (overlay.root, overlay.root_alias) = (Some("boss".to_owned()), Some("boss-alias".to_owned()));
    let text = svg(&status);
    for known in ["at / (root, boss)", "at /1 (parent, boss)"] {
        assert!(text.contains(&format!("boss-alias {known}")), "{known}");
    }
    assert!(!text.contains("class=\"extra\""), "it hangs on the seat");
}

#[test]
fn sessions_follow_the_first_link_and_then_the_tree() {
    let status = sample(4);
    let overlay = status.overlay.as_ref().unwrap();
    let place = overlay.place.as_ref().unwrap();
    let map = Map::of(&status, overlay, place);
    let way = |session: usize| map.way(&status.sessions[session], overlay);
    let own = vec![(1, 4), (2, 6)];
    let relayed = [
        own.clone(),
        vec![(1, 4)],
        vec![],
        vec![(3, 9)],
        vec![(3, 9), (1, 7)],
    ];
    assert_eq!(way(0), relayed);
    assert_eq!(way(1), [own, vec![(2, 5)]]);
    assert!(way(2).is_empty());
}

/// The numbers of a text.
fn numbers(text: &str) -> Vec<f64> {
    text.split(' ').map(|word| word.parse().unwrap()).collect()
}

/// Centre of the circle of an SVG arc, from its end points (SVG 2, appendix B.2.4).
fn centre(from: (f64, f64), radius: f64, sweep: bool, to: (f64, f64)) -> (f64, f64) {
    let half = ((from.0 - to.0) / 2.0, (from.1 - to.1) / 2.0);
    let square = half.0 * half.0 + half.1 * half.1;
    let off = ((radius * radius - square) / square).max(0.0).sqrt();
    // Of the two centres that which is on the other side of the small part.
    let off = if sweep { off } else { -off };
    let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
    (middle.0 + off * half.1, middle.1 - off * half.0)
}

/// Checks every arc of the `d` of a path, whose M is left out; says how many there are.
fn check_arcs(path: &str) -> usize {
    let mut arcs = 0;
    let mut at = (0.0, 0.0);
    let marked = path.replace('A', "|A").replace('L', "|L");
    for step in marked.split('|') {
        let Some(arc) = step.strip_prefix('A') else {
            let values = numbers(step.trim_start_matches('L'));
            at = (values[0], values[1]);
            continue;
        };
        let values = numbers(arc);
        let [rx, ry, turn, large, sweep, x, y] = values[..] else {
            panic!("{arc}");
        };
        assert_eq!((rx, turn, large), (ry, 0.0, 0.0));
        let c = centre(at, rx, sweep > 0.0, (x, y));
        let right = (c.0 * c.0 + c.1 * c.1) / (RADIUS * RADIUS + rx * rx);
        assert!((right - 1.0).abs() < 1e-3, "{right} {arc}");
        at = (x, y);
        arcs += 1;
    }
    arcs
}

#[test]
fn the_arcs_in_the_document_meet_the_rim_at_right_angles() {
    let mut arcs = 0;
    for degree in [3, 4, 6] {
        let text = svg(&sample(degree));
        for path in text.split(" d=\"M").skip(1) {
            arcs += check_arcs(path.split('"').next().unwrap());
        }
    }
    assert!(arcs > 10, "{arcs}");
}

#[test]
fn places_too_deep_for_floats_stay_within_the_disk() {
    let deep = vec![(1, 0); 32];
    for degree in [3, 16, 256] {
        let at = point(degree, &deep);
        assert!(at.x.hypot(at.y) < 1.0);
        let mut status = sample(degree);
        status.overlay.as_mut().unwrap().place = Some(self::at(&deep));
        let text = svg(&status);
        check_xml(&text);
        assert!(!text.contains("NaN"));
    }
}

#[test]
fn labels_that_find_no_room_are_left_out_and_this_node_has_its_own() {
    let mut status = sample(16);
    let overlay = status.overlay.as_mut().unwrap();
    overlay.place = Some(at(&[]));
    overlay.neighbours = (0..40)
        .map(|n| {
            neighbour(
                &format!("n{n}"),
                "child",
                &[(1, 0), (8, 0), (8, 0), (n % 15, n)],
            )
        })
        .collect();
    let text = svg(&status);
    assert_eq!(text.matches("own-label\"").count(), 1);
    let labels = text.matches("-alias</text>").count();
    assert!((1..40).contains(&labels), "{labels}");
    assert_eq!(
        text.matches("<title>n").count(),
        40,
        "all of them have titles"
    );
}
