//! What the product is for: every connection outlives every failure of the network.

use std::time::Duration;

use rustix::process::Signal;

use crate::Lab;
use crate::load::{Expected, Failure, Load, USUAL, last, now};
use crate::net::skip;
use crate::sshd::PROGRAMS;

#[test]
fn a_silent_cut_of_the_link() {
    if skip("a_silent_cut_of_the_link", &PROGRAMS) {
        return;
    }
    let lab = Lab::new("cut");
    let load = Load::start(lab.ends(), USUAL);
    let began = now();
    lab.net.router.run(&["nft", "add table ip cut; add chain ip cut f { type filter hook forward priority 0; policy drop; }"]);
    last(Duration::from_secs(20));
    let over = now();
    lab.net.router.run(&["nft", "delete table ip cut"]);
    let expected = Expected {
        scenario: "silent cut of 20 s",
        target: 1.5,
        cause: Some("\"no answer\""),
    };
    load.finish(lab.ends(), &expected, &[Failure { began, over }]);
}

#[test]
fn resets_of_the_link() {
    if skip("resets_of_the_link", &PROGRAMS) {
        return;
    }
    let lab = Lab::new("rst");
    let load = Load::start(lab.ends(), USUAL);
    let failures: Vec<Failure> = (0..10)
        .map(|_| {
            last(Duration::from_secs(2));
            let began = now();
            lab.net.client.run(&["ss", "-K", "dport", "=", "7700"]);
            Failure { began, over: began }
        })
        .collect();
    let expected = Expected {
        scenario: "link reset every 2 s for 20 s",
        target: 1.5,
        cause: Some("\"link lost\""),
    };
    load.finish(lab.ends(), &expected, &failures);
}

#[test]
fn a_move_to_another_router_with_another_address() {
    if skip("a_move_to_another_router_with_another_address", &PROGRAMS) {
        return;
    }
    let lab = Lab::new("move");
    let load = Load::start(lab.ends(), USUAL);
    let began = now();
    lab.net.leave();
    last(Duration::from_secs(15));
    lab.net.arrive_elsewhere();
    let over = now();
    lab.net.route_elsewhere();
    let expected = Expected {
        scenario: "move after 15 s without network",
        target: 0.3,
        cause: Some("\"address change\""),
    };
    load.finish(lab.ends(), &expected, &[Failure { began, over }]);
}

#[test]
fn a_peer_that_is_stopped() {
    if skip("a_peer_that_is_stopped", &PROGRAMS) {
        return;
    }
    let lab = Lab::new("stop");
    let load = Load::start(lab.ends(), USUAL);
    let began = now();
    lab.gateway.signal(Signal::STOP);
    last(Duration::from_secs(30));
    let over = now();
    lab.gateway.signal(Signal::CONT);
    let expected = Expected {
        scenario: "peer stopped for 30 s",
        target: 1.5,
        cause: Some("\"no answer\""),
    };
    load.finish(lab.ends(), &expected, &[Failure { began, over }]);
}
