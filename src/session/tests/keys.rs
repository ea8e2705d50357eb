//! Keys that are used up, and what does not open.

use super::*;

#[test]
fn keys_that_are_used_up_pause_the_session_and_the_next_ones_carry_it_on() {
    let mut pairing = pairing();
    let id = pairing.opened();
    for end in &mut pairing.ends {
        (end.options.key_use.packets, end.options.key_use.packets_max) = (10, 20);
    }
    // A hop lets packets pass and drops every Re-Hello.
    let mut sent = 0;
    while !pairing.ends[0].is_suspended() {
        sent += pairing.ends[0].push(id, b"x");
        assert!(sent < 100, "they are used for ever");
        pairing.settle();
    }
    assert!(
        pairing
            .events(0)
            .contains(&Event::Suspended(Reason::KeyUse))
    );
    assert!(!pairing.ends[0].is_ended());
    assert!(pairing.packet(0).is_none());
    let used = pairing.ends[0].epochs.next();

    pairing.hellos();
    pairing.settle();
    assert!(pairing.events(0).contains(&Event::Resumed));
    assert!(pairing.ends[0].epochs.live() >= Some(used));
    assert_eq!(pairing.ends[1].waiting(id).0.len(), sent);
    assert_eq!(pairing.ends[0].push(id, b"y"), 1);
    pairing.settle();
    assert_eq!(pairing.ends[1].waiting(id).0.len(), sent + 1);
}

#[test]
fn keys_that_are_used_up_before_they_go_live_are_replaced() {
    let mut pairing = pairing();
    let id = pairing.opened();
    pairing.ends[0].options.key_use.packets_max = 20;
    pairing.ends[0].link_event(LinkEvent::Changed, pairing.now);
    pairing.hellos();
    let first = pairing.ends[0].epochs.next();
    // What A sends with them is lost; what B says arrives, so A goes on.
    for round in 0.. {
        assert!(round < 100, "they are used for ever");
        pairing.ends[1].push(id, b"x");
        pairing.now += Duration::from_millis(2);
        for side in [1, 0] {
            pairing.ends[side].handle_timeout(pairing.now);
        }
        while let Some(packet) = pairing.packet(1) {
            pairing.arrives(0, &packet);
        }
        while pairing.packet(0).is_some() {}
        if pairing.ends[0].epochs.next() != first {
            break;
        }
    }
    pairing.hellos();
    pairing.settle();
    assert!(pairing.ends[0].epochs.live() > Some(first));
    assert!(pairing.ends.iter().all(|end| !end.is_ended()));
}

#[test]
fn forged_packets_are_counted_and_told_once_a_minute_and_end_nothing_before_the_bound() {
    let mut pairing = pairing();
    pairing.ends[0].probe();
    let (header, body) = pairing.packet(0).unwrap();
    let mut spoilt = body.clone();
    spoilt[0] ^= 1;
    let mut told = Vec::new();
    for second in 0..130 {
        pairing.arrives(1, &(header, spoilt.clone()));
        pairing.ends[1].handle_re_hello(&[0; 100], pairing.now);
        told.extend(
            pairing
                .events(1)
                .into_iter()
                .filter_map(|event| match event {
                    Event::Forged(count) => Some((second, count)),
                    _ => None,
                }),
        );
        pairing.now += Duration::from_secs(1);
    }
    assert_eq!(told, [(0, 1), (60, 120), (120, 120)]);
    assert_eq!(pairing.ends[1].stats().forged, 260);
    // A replay is no forgery.
    pairing.arrives(1, &(header, body.clone()));
    pairing.arrives(1, &(header, body));
    assert_eq!(pairing.ends[1].stats().forged, 260);
    assert!(!pairing.ends[1].is_ended());

    pairing.ends[1].stats.forged = crate::limits::FORGED_MAX - 1;
    pairing.ends[1].handle_re_hello(&[0; 100], pairing.now);
    assert_eq!(
        pairing.events(1).last(),
        Some(&Event::Ended(EndReason::Forged))
    );
}
