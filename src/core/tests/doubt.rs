//! Links that owe an answer, and what goes by others meanwhile.

use super::relays::Mesh;
use super::*;
use crate::cloak::forward::WATERMARK_START;
use crate::core::overlay::Onward;
use crate::limits::LINK_DOUBT;
use crate::link::liveness::Due;
use crate::wire::link::Route;

#[test]
fn a_relay_passes_by_a_neighbour_that_owes_an_answer() {
    // A ring: who hangs opposite of the root has two neighbours that are closer to it.
    let mut mesh = Mesh::new(5, &[(0, 1), (0, 2), (1, 3), (2, 3)]);
    let root = mesh.nodes[0].core.overlay.tree().root();
    let is_root = |node: &usize| *mesh.name(*node).as_bytes() == root;
    let root = (0..4).find(is_root).unwrap();
    let (relay, sender) = (3 - root, 4);
    mesh.link(relay, sender, false);
    mesh.run(Duration::from_secs(3));
    let place = |node: usize| mesh.nodes[node].core.overlay.location().unwrap();
    let route = Route {
        watermark: WATERMARK_START,
        to_location: place(root),
        from_location: place(sender),
        ..Route::neighbour(mesh.name(sender).tag(), mesh.name(root).tag())
    };
    let ingress = mesh.wires.last().unwrap().links[0];
    let next = |mesh: &mut Mesh| {
        let now = mesh.nodes[relay].time(mesh.now);
        let core = &mut mesh.nodes[relay].core;
        match core.onward(ingress, route.clone(), now) {
            Onward::By(link, _) => link,
            other => panic!("{other:?}"),
        }
    };
    let first = next(&mut mesh);
    let now = mesh.nodes[relay].time(mesh.now);
    let life = &mut mesh.nodes[relay].core.links.get_mut(&first).unwrap().life;
    life.ask(now);
    assert_eq!(life.poll(now + LINK_DOUBT), Some(Due::Doubt));
    let other = next(&mut mesh);
    assert!(![first, ingress].contains(&other));
    // It answers after all.
    let life = &mut mesh.nodes[relay].core.links.get_mut(&first).unwrap().life;
    life.heard(now + LINK_DOUBT);
    assert_eq!(next(&mut mesh), first);
}
