//! `muses map`: what one node knows of the overlay, drawn in the Poincaré disk.
//!
//! The node itself, its ancestors (every beginning of a path is a node), its neighbours and the peers of its
//! sessions. Distances are true: a large tree hangs near the rim, and enlarging shows more of it.

mod geodesic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::cli::map::geodesic::Geodesic;
use crate::cloak::geometry::common;
use crate::cloak::poincare::{self, Point};
use crate::control::overlay::{OverlayStatus, PlaceStatus};
use crate::control::status::{SessionStatus, Status};

/// Radius of the disk on the drawing.
const RADIUS: f64 = 500.0;
/// Half the width and height of the drawing: the disk with room for labels and captions.
const HALF: f64 = 640.0;
/// Beyond this part of the radius, labels stand outside the rim.
const INNER: f64 = 0.9;
/// Room that a line of text takes, and a character of it.
const LINE: f64 = 14.0;
const CHAR: f64 = 7.0;
/// Characters of a label; the whole of it is in the title.
const LABEL_MAX: usize = 16;
/// Colours of sessions, in turn.
const COLOURS: [&str; 8] = [
    "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#e377c2", "#8c564b",
];

const STYLE: &str = "\
.disk{fill:#fbfbfd;stroke:#555;stroke-width:1.5}\
.tree{fill:none;stroke:#888;stroke-width:1.2}\
.extra{fill:none;stroke:#888;stroke-width:1;stroke-dasharray:5 4}\
.session{fill:none;stroke-width:4;stroke-opacity:.55;stroke-linecap:round;stroke-linejoin:round}\
.unknown{fill:#fff;stroke:#888}.known{fill:#456;stroke:#fff}.own{fill:#e4a100;stroke:#333}\
text{font:12px sans-serif;fill:#222}.own-label{font-weight:bold}";

type Path = Vec<(u32, u32)>;

/// How much is known of a node; later ones are drawn and labelled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Kind {
    /// Only that it is there: others hang below it.
    #[default]
    Unknown,
    Known,
    Own,
}

/// A node of the tree.
#[derive(Debug, Default)]
struct Node {
    kind: Kind,
    /// Alias, or the beginning of the name.
    label: String,
    /// What stands beside the label in the title.
    about: String,
}

/// What is drawn.
struct Map<'a> {
    degree: u32,
    tree: &'a str,
    own: Path,
    nodes: BTreeMap<Path, Node>,
    /// Nodes that cannot be drawn: without a place, or in another tree.
    elsewhere: BTreeSet<String>,
}

/// The map as an SVG document.
pub(super) fn svg(status: &Status) -> String {
    let mut text = String::new();
    let span = 2.0 * HALF;
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-{HALF} -{HALF} {span} {span}\" \
         width=\"{span}\" height=\"{span}\">\n<title>muses overlay</title>\n<style>{STYLE}</style>\n\
         <rect x=\"-{HALF}\" y=\"-{HALF}\" width=\"{span}\" height=\"{span}\" fill=\"#fff\"/>\n\
         <circle class=\"disk\" r=\"{RADIUS}\"/>"
    );
    let placed = status.overlay.as_ref().and_then(|overlay| {
        let place = overlay.place.as_ref()?;
        Some((overlay, place))
    });
    match placed {
        Some((overlay, place)) => draw(&mut text, status, overlay, place),
        None => caption(&mut text, 0, "this node has no place in the overlay"),
    }
    text.push_str("</svg>\n");
    text
}

fn draw(text: &mut String, status: &Status, overlay: &OverlayStatus, place: &PlaceStatus) {
    let map = Map::of(status, overlay, place);
    for (path, _) in map.nodes.iter().filter(|(path, _)| !path.is_empty()) {
        let parent = path.get(..path.len() - 1).unwrap_or_default();
        stroke(text, "class=\"tree\"", &map.points(&[parent, path]), "");
    }
    for neighbour in &overlay.neighbours {
        if let Some(path) = map.path(neighbour.place.as_ref())
            && !is_edge(&map.own, path)
            && !["parent", "child"].contains(&neighbour.role.as_str())
        {
            let title = format!(
                "{}: {}",
                neighbour.role,
                shown(&neighbour.name, neighbour.alias.as_deref())
            );
            stroke(
                text,
                "class=\"extra\"",
                &map.points(&[&map.own, path]),
                &title,
            );
        }
    }
    let mut legend = Vec::new();
    for (session, colour) in status.sessions.iter().zip(COLOURS.iter().cycle()) {
        let way = map.way(session, overlay);
        if way.len() > 1 {
            let class = format!("class=\"session\" stroke=\"{colour}\"");
            let way: Vec<_> = way.iter().map(Path::as_slice).collect();
            let peer = shown(&session.peer, session.alias.as_deref());
            let title = format!("session {} with {peer}, {}", session.id, session.way.kind);
            stroke(text, &class, &map.points(&way), &title);
            legend.push((*colour, title));
        }
    }
    explain(text, &legend);
    map.dots(text);
    map.labels(text);
    let own = shown(&status.name, None);
    let tree = format!(
        "tree {}, term {}, degree {}, seen from {own} at {place}",
        place.tree, place.term, map.degree
    );
    caption(text, 0, &tree);
    let elsewhere = map.elsewhere.len();
    if elsewhere > 0 {
        let words = format!("{elsewhere} more known, without a place in this tree");
        caption(text, 1, &words);
    }
}

impl<'a> Map<'a> {
    fn of(status: &Status, overlay: &OverlayStatus, place: &'a PlaceStatus) -> Self {
        let mut map = Self {
            degree: overlay.degree,
            tree: &place.tree,
            own: place.path.clone(),
            nodes: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
        };
        map.add(Some(place), Kind::Own, ("this node", &status.name, None));
        for neighbour in &overlay.neighbours {
            let who = (
                neighbour.role.as_str(),
                neighbour.name.as_str(),
                neighbour.alias.as_deref(),
            );
            map.add(neighbour.place.as_ref(), Kind::Known, who);
        }
        for session in &status.sessions {
            let is_neighbour = overlay.neighbours.iter().any(|n| n.name == session.peer);
            if !is_neighbour {
                let who = ("session", session.peer.as_str(), session.alias.as_deref());
                map.add(session.way.place.as_ref(), Kind::Known, who);
            }
        }
        // A root that came to be one keeps its place, and holds the seat in the middle as well.
        if let Some(root) = &overlay.root {
            let seat = PlaceStatus {
                tree: place.tree.clone(),
                ..PlaceStatus::default()
            };
            let who = ("root", root.as_str(), overlay.root_alias.as_deref());
            map.add(Some(&seat), Kind::Known, who);
        }
        map
    }

    fn add(
        &mut self,
        place: Option<&PlaceStatus>,
        kind: Kind,
        (role, name, alias): (&str, &str, Option<&str>),
    ) {
        let Some(path) = self.path(place).map(<[_]>::to_vec) else {
            self.elsewhere.insert(name.to_owned());
            return;
        };
        for depth in 0..path.len() {
            let above = path.get(..depth).unwrap_or_default();
            self.nodes.entry(above.to_vec()).or_default();
        }
        let node = self.nodes.entry(path).or_default();
        if kind > node.kind {
            *node = Node {
                kind,
                label: shown(name, alias),
                about: format!("{role}, {name}"),
            };
        }
    }

    /// The path of a place, if it is one of this tree.
    fn path<'p>(&self, place: Option<&'p PlaceStatus>) -> Option<&'p [(u32, u32)]> {
        place
            .filter(|place| place.tree == self.tree)
            .map(|place| place.path.as_slice())
    }

    /// Nodes that the packets of a session pass, as far as this node knows: by its first link, from there
    /// along the tree.
    fn way(&self, session: &SessionStatus, overlay: &OverlayStatus) -> Vec<Path> {
        let Some(peer) = self.path(session.way.place.as_ref()) else {
            return Vec::new();
        };
        let mut way = vec![self.own.clone()];
        match session.way.kind.as_str() {
            "direct" => way.push(peer.to_vec()),
            "relayed" => {
                let by = session.way.by.as_deref();
                let first = overlay
                    .neighbours
                    .iter()
                    .find(|neighbour| Some(neighbour.name.as_str()) == by)
                    .and_then(|neighbour| self.path(neighbour.place.as_ref()));
                let from = first.unwrap_or(&self.own);
                way.extend(along(from, peer));
            }
            _ => return Vec::new(),
        }
        way.dedup();
        way
    }

    fn points(&self, paths: &[&[(u32, u32)]]) -> Vec<Point> {
        paths.iter().map(|path| point(self.degree, path)).collect()
    }

    fn dots(&self, text: &mut String) {
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(_, node)| node.kind);
        for (path, node) in nodes {
            let at = point(self.degree, path);
            let (class, size) = match node.kind {
                Kind::Unknown => ("unknown", 4.0),
                Kind::Known => ("known", 6.0),
                Kind::Own => ("own", 9.0),
            };
            // Smaller towards the rim, where there is less room.
            let size = size * (12.0 * (1.0 - at.x * at.x - at.y * at.y)).clamp(0.5, 1.0);
            let (x, y) = drawn(at);
            let place = PlaceStatus {
                path: path.clone(),
                ..PlaceStatus::default()
            };
            let title = match node.kind {
                Kind::Unknown => place.to_string(),
                Kind::Known | Kind::Own => format!("{} at {place} ({})", node.label, node.about),
            };
            let _ = writeln!(
                text,
                "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"><title>{}</title></circle>",
                number(x),
                number(y),
                number(size),
                escaped(&title)
            );
        }
    }

    /// Labels where there is room, this node's first.
    fn labels(&self, text: &mut String) {
        let mut room = Room::default();
        for path in self.nodes.keys() {
            room.dot(drawn(point(self.degree, path)));
        }
        let known = self
            .nodes
            .iter()
            .filter(|(_, node)| node.kind != Kind::Unknown);
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|(path, node)| (std::cmp::Reverse(node.kind), path.len()));
        for (path, node) in known {
            let label = shortened(&node.label);
            let at = point(self.degree, path);
            let Some(place) = room.find(at, label.chars().count()) else {
                continue;
            };
            let class = if node.kind == Kind::Own {
                " class=\"own-label\""
            } else {
                ""
            };
            let _ = writeln!(text, "<text{class} {place}>{}</text>", escaped(&label));
        }
    }
}

/// A place's point; where floats cannot tell it from the rim, that of the nearest ancestor that they can.
fn point(degree: u32, path: &[(u32, u32)]) -> Point {
    let depths = (0..=path.len()).rev();
    let mut points =
        depths.map(|depth| poincare::point(degree, path.get(..depth).unwrap_or_default()));
    points
        .find(|point| point.x * point.x + point.y * point.y < 1.0)
        .unwrap_or_default()
}

/// The nodes from one place to another along the tree, both ends included.
fn along(from: &[(u32, u32)], to: &[(u32, u32)]) -> Vec<Path> {
    let top = common(from, to);
    let up = (top..=from.len())
        .rev()
        .filter_map(|depth| from.get(..depth));
    let down = (top + 1..=to.len()).filter_map(|depth| to.get(..depth));
    up.chain(down).map(<[_]>::to_vec).collect()
}

/// Whether one place hangs directly below the other.
fn is_edge(a: &[(u32, u32)], b: &[(u32, u32)]) -> bool {
    a.len().abs_diff(b.len()) == 1 && common(a, b) == a.len().min(b.len())
}

/// Where a point is drawn: the imaginary axis points up.
fn drawn(point: Point) -> (f64, f64) {
    (RADIUS * point.x, -RADIUS * point.y)
}

/// A line through points of the disk, every part of it straight in the hyperbolic plane.
fn stroke(text: &mut String, attributes: &str, points: &[Point], title: &str) {
    let mut path = String::new();
    let mut before = None;
    for point in points {
        let (x, y) = drawn(*point);
        let (x, y) = (number(x), number(y));
        let _ = match before.map(|before| Geodesic::between(before, *point)) {
            None => write!(path, "M{x} {y}"),
            Some(Geodesic::Straight) => write!(path, "L{x} {y}"),
            Some(Geodesic::Arc {
                radius, clockwise, ..
            }) => {
                let radius = number(RADIUS * radius);
                write!(
                    path,
                    "A{radius} {radius} 0 0 {} {x} {y}",
                    u8::from(clockwise)
                )
            }
        };
        before = Some(*point);
    }
    let _ = if title.is_empty() {
        writeln!(text, "<path {attributes} d=\"{path}\"/>")
    } else {
        let title = escaped(title);
        writeln!(
            text,
            "<path {attributes} d=\"{path}\"><title>{title}</title></path>"
        )
    };
}

/// What the lines mean, in the lower left corner.
fn explain(text: &mut String, sessions: &[(&str, String)]) {
    let lines = [
        ("#222", "solid: the tree; dashed: other links".to_owned()),
        ("#222", "white: known only by what hangs below".to_owned()),
    ];
    let sessions = sessions.iter().take(COLOURS.len()).cloned();
    let mut y = HALF - 16.0;
    for (colour, words) in sessions.chain(lines) {
        let x = 14.0 - HALF;
        let words = escaped(&words);
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{y}\" style=\"fill:{colour}\">{words}</text>"
        );
        y -= LINE + 2.0;
    }
}

fn caption(text: &mut String, line: u32, words: &str) {
    let (x, y) = (-HALF + 14.0, -HALF + 24.0 + f64::from(line) * (LINE + 4.0));
    let _ = writeln!(text, "<text x=\"{x}\" y=\"{y}\">{}</text>", escaped(words));
}

/// Room that is taken on the drawing.
#[derive(Default)]
struct Room {
    /// Left, top, right, bottom.
    boxes: Vec<(f64, f64, f64, f64)>,
    /// Angles of labels outside the rim, and of the dots there.
    angles: Vec<f64>,
}

impl Room {
    fn dot(&mut self, (x, y): (f64, f64)) {
        self.boxes.push((x - 4.0, y - 4.0, x + 4.0, y + 4.0));
    }

    /// Attributes of a text of so many characters that belongs to a point; none where there is no room.
    fn find(&mut self, at: Point, chars: usize) -> Option<String> {
        let (x, y) = drawn(at);
        if at.x.hypot(at.y) > INNER {
            return self.outside(x, y);
        }
        let width = CHAR * f64::from(u32::try_from(chars).unwrap_or(u32::MAX));
        let (side, high) = (12.0, LINE / 2.0);
        let candidates = [
            (x + side, y, "start"),
            (x - side - width, y, "end"),
            (x - width / 2.0, y + 2.0 * high + 6.0, "middle"),
            (x - width / 2.0, y - 2.0 * high - 6.0, "middle"),
        ];
        for (left, middle, anchor) in candidates {
            let wanted = (left, middle - high, left + width, middle + high);
            let free = |taken: &(f64, f64, f64, f64)| {
                wanted.2 < taken.0 || taken.2 < wanted.0 || wanted.3 < taken.1 || taken.3 < wanted.1
            };
            if self.boxes.iter().all(free) {
                self.boxes.push(wanted);
                let at = match anchor {
                    "start" => left,
                    "end" => left + width,
                    _ => left + width / 2.0,
                };
                let (x, y) = (number(at), number(middle + 4.0));
                return Some(format!("x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\""));
            }
        }
        None
    }

    /// Outside the rim, pointing away from the middle and never upside down.
    fn outside(&mut self, x: f64, y: f64) -> Option<String> {
        use std::f64::consts::{PI, TAU};
        let angle = y.atan2(x);
        let start = RADIUS + 10.0;
        let free = |taken: &f64| {
            let apart = (angle - taken).rem_euclid(TAU);
            apart.min(TAU - apart) * start > LINE
        };
        if !self.angles.iter().all(free) {
            return None;
        }
        self.angles.push(angle);
        let (x, y) = (number(start * angle.cos()), number(start * angle.sin()));
        let left = angle.cos() < 0.0;
        let (anchor, turn) = if left {
            ("end", angle + PI)
        } else {
            ("start", angle)
        };
        let turn = number(turn.to_degrees());
        Some(format!(
            "x=\"{x}\" y=\"{y}\" dy=\"4\" text-anchor=\"{anchor}\" transform=\"rotate({turn} {x} {y})\""
        ))
    }
}

/// The alias, else the first twelve characters of the name.
fn shown(name: &str, alias: Option<&str>) -> String {
    alias.map_or_else(|| name.chars().take(12).collect(), str::to_owned)
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_MAX {
        return label.to_owned();
    }
    label.chars().take(LABEL_MAX - 1).chain(['…']).collect()
}

/// With three digits behind the point, and no minus before a zero.
fn number(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{}", rounded + 0.0)
}

/// Text for XML, without what XML cannot hold.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
