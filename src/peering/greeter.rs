//! Accepting links. A stranger hears nothing and is let go after a while (R-P1).

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::engine::Command;
use crate::limits::{LINK_GREETINGS_MAX, LINK_HANDSHAKE};
use crate::net::accept::accept;
use crate::net::descriptors::kept;
use crate::net::guests::Guests;
use crate::net::seldom::Seldom;
use crate::peering::join::{Greeting, Joiner};
use crate::peering::options::set_link_options;
use crate::random::Random;

static FLOOD: Seldom = Seldom::new(Duration::from_secs(60));

/// How many may be greeted at once at each of so many listeners: strangers must not use up what is kept back
/// for links.
pub fn places(listeners: usize) -> usize {
    let half_kept = usize::try_from(kept() / 2).unwrap_or(usize::MAX);
    LINK_GREETINGS_MAX.min(half_kept) / listeners.max(1)
}

/// Accepts links on one listener until dropped. A flood of strangers never shuts the door: whoever has
/// been here longest goes when all its `places` are taken.
pub async fn greet(
    listener: TcpListener,
    joiner: Arc<Joiner>,
    commands: mpsc::Sender<Command>,
    mut random: Random,
    places: usize,
) {
    let mut guests = Guests::new(places, Duration::ZERO);
    loop {
        let (stream, _) = accept(&listener).await;
        let (joiner, commands, random) = (Arc::clone(&joiner), commands.clone(), random.fork());
        let evicted = guests.admit(|_| async move {
            welcome(stream, &joiner, &commands, random).await;
        });
        if evicted && let Some(held_back) = FLOOD.due() {
            tracing::warn!(
                held_back,
                "many connections on the link port that are no links: the oldest are closed"
            );
        }
    }
}

async fn welcome(
    stream: TcpStream,
    joiner: &Joiner,
    commands: &mpsc::Sender<Command>,
    mut random: Random,
) {
    set_link_options(&stream);
    // What fails at once, what is slow and what is silent look the same from outside: one deadline, and a
    // reset, as the system sends it by itself to whom something is left unread of.
    let jitter = Duration::from_millis(random.below(1_000));
    let deadline = Instant::now() + LINK_HANDSHAKE + jitter;
    linger(&stream, Some(Duration::ZERO));
    let greeting = timeout_at(deadline, joiner.greet(stream, random)).await;
    let command = match greeting {
        Ok(Greeting::Joined(joined, stream)) => {
            linger(&stream, None);
            Command::Link(*joined, stream, None)
        }
        Ok(Greeting::Asked(joined, stream, early)) => {
            linger(&stream, None);
            Command::Asked(*joined, stream, early)
        }
        Ok(Greeting::Stranger(stream)) => {
            sleep_until(deadline).await;
            drop(stream);
            return;
        }
        Ok(Greeting::Gone) | Err(_) => return,
    };
    // The engine is gone when the node stops.
    let _stopping = commands.send(command).await;
}

/// How a connection is closed: `Some` of nothing is by a reset.
fn linger(stream: &impl AsFd, time: Option<Duration>) {
    // It fails only on a socket that is already dead.
    let _dead = SockRef::from(stream).set_linger(time);
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use super::*;
    use crate::link::handshake::Dialer;
    use crate::name::Identity;
    use crate::name::certificate::{LocalParty, OverlayId, StaticKey, Terms};
    use crate::peering::join::Standing;
    use crate::time::Calendar;

    fn party(seed: u8, network: &str) -> LocalParty {
        let terms = Terms {
            not_before: Calendar(0),
            not_after: Calendar(u64::MAX),
            serial: 1,
        };
        let identity = Identity::from_seed(&[seed; 32]);
        let key = StaticKey::from_bytes([seed ^ 0x55; 32]);
        LocalParty::new(identity, key, terms, [seed; 16], OverlayId::of(network))
    }

    /// The first message of a dialler of a network.
    fn first(network: &str) -> Vec<u8> {
        let mut random = Random::from_number(7);
        Dialer::xx(&party(2, network), None, None, &mut random)
            .unwrap()
            .1
    }

    /// What somebody hears who says this and nothing more, how it ends for him, and when.
    async fn stay(said: &[u8], seed: u64) -> (usize, ErrorKind, Duration) {
        let me = Arc::new(party(1, "home"));
        let joiner = Joiner::new(me, None, Box::new(|_| Standing::Unknown));
        let (commands, _engine) = mpsc::channel(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut guest = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        guest.write_all(said).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let begun = Instant::now();
        welcome(stream, &joiner, &commands, Random::from_number(seed)).await;
        let stayed = begun.elapsed();
        let mut heard = Vec::new();
        let end = guest.read_to_end(&mut heard).map_err(|error| error.kind());
        (heard.len(), end.unwrap_err(), stayed)
    }

    #[test]
    fn listeners_share_the_descriptors_that_strangers_may_use() {
        for listeners in 1..5 {
            let held = places(listeners) * listeners;
            assert!(held as u64 <= kept() / 2 && held <= LINK_GREETINGS_MAX);
            assert!(held + listeners > places(1), "{listeners}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_stranger_says_he_hears_nothing_and_is_let_go_in_the_same_way() {
        let lengths: [u16; 6] = [288, 802, 256, 240, 0, 65_535];
        let sizes = [0, 10, 240, 256, 288, 802, 1_500];
        let pairs = lengths.iter().flat_map(|len| sizes.map(|size| (len, size)));
        let garbage = pairs.map(|(len, size)| [&len.to_be_bytes()[..], &vec![0xa5; size]].concat());
        let sayings: Vec<_> = garbage.chain([first("other")]).collect();
        for seed in 0..3 {
            let silent = stay(&[], seed).await;
            assert_eq!((silent.0, silent.1), (0, ErrorKind::ConnectionReset));
            assert!(silent.2 > LINK_HANDSHAKE);
            for said in &sayings {
                assert_eq!(stay(said, seed).await, silent, "{:?}", said.get(..2));
            }
        }
        assert_ne!(stay(&[], 0).await, stay(&[], 1).await, "no jitter");
    }

    #[tokio::test(start_paused = true)]
    async fn who_knows_the_network_hears_one_answer_and_is_let_go_like_a_stranger() {
        let silent = stay(&[], 1).await;
        let begun = first("home");
        for more in [0, 10, 258, 600] {
            let mut said = begun.clone();
            said.extend([&[1, 0][..], &vec![0xa5; more]].concat());
            let (heard, end, stayed) = stay(&said, 1).await;
            assert!(heard == 0 || heard == 290, "{heard}");
            assert_eq!((end, stayed), (silent.1, silent.2));
        }
    }
}
