//! Every bound of the program, in one place: value, unit, why, and what happens at it.

use std::time::Duration;

/// Plaintext of one session packet, bytes. A link of 100 Mbit/s carries it in 5 ms; larger packets
/// gain nothing measurable. Longer ones are refused before allocation.
pub const PACKET_PLAIN_MAX: usize = 65_536;
/// Largest packet that is chosen, bytes: its frame, and the bytes in it for the application, are one
/// segment each to a kernel that takes up to 65,483 bytes as one (loopback and segmentation offload). One
/// byte more costs a second segment.
pub const PACKET_PLAIN_CHOSEN: usize = 65_300;
/// Smallest packet size chosen for a slow link, bytes: one Ethernet segment.
pub const PACKET_PLAIN_MIN: usize = 1_200;
/// Tag of a session packet, bytes; the paper's suite has the longest.
pub const PACKET_TAG_MAX: usize = 20;
/// Packet size on a link whose rate is not known yet, bytes.
pub const PACKET_PLAIN_START: usize = 16 << 10;
/// Body of a link frame, bytes: ciphertext and tag of one packet.
pub const FRAME_BODY_MAX: usize = PACKET_PLAIN_MAX + PACKET_TAG_MAX;
/// Sealed header of a link frame with its tag, bytes: routing header and the largest control
/// message. Longer ones end the link.
pub const FRAME_HEAD_MAX: usize = 4_096;
/// Frames after which a link direction moves to its next key.
pub const FRAMES_PER_LINK_KEY: u64 = 1 << 20;
/// Least and largest degree of the overlay's tree: with two directions there is no plane, and beyond 256 an
/// edge is so long that both metrics are the same.
pub const DEGREES: (u32, u32) = (3, 256);
/// Nodes found by the overlay that are dialled at once; further ones wait until the core asks again.
pub const FOUND_DIALS_AT_ONCE: usize = 16;
/// Least pause between two tries to dial one of them.
pub const FOUND_PAUSE: Duration = Duration::from_secs(5);
/// Addresses of one endpoint of theirs that are dialled; a name may stand for any number.
pub const FOUND_ADDRESSES_MAX: usize = 4;
/// Pause between tries to link directly to the peer of a session that goes through relays, first and longest.
pub const SHORTCUT_PAUSE: Duration = Duration::from_secs(10);
/// See [`SHORTCUT_PAUSE`].
pub const SHORTCUT_PAUSE_MAX: Duration = Duration::from_secs(600);
/// Pause after which a neighbour may cause one more notice about a way, and how many it may cause at once;
/// further ones are dropped.
pub const NOTICES_PAUSE: Duration = Duration::from_millis(20);
/// See [`NOTICES_PAUSE`].
pub const NOTICES_BURST: u32 = 64;
/// Pause after which somebody who says that the way to a peer is broken is heeded again: he may lie.
pub const BROKEN_PAUSE: Duration = Duration::from_secs(1);
/// How long frames to a peer go along the tree because a relay said that the shortest way is broken, and because
/// nothing came by it: whoever swallows what he should carry does so again, and costs a pause each time.
pub const DETOUR: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// How long they do behind the last packet of the peer that came so.
pub const DETOUR_ECHO: Duration = Duration::from_secs(5);
/// How long a way has to bring an answer until the other one is tried.
pub const DETOUR_TURN: Duration = Duration::from_secs(1);
/// Pause between look-ups of one peer, first and longest; an eighth of the time for which it has been looked for
/// in between.
pub const SEEK_PAUSE: Duration = Duration::from_millis(250);
/// See [`SEEK_PAUSE`].
pub const SEEK_PAUSE_MAX: Duration = Duration::from_secs(15);
/// How long `muses lookup` waits for the directory, which gives up by itself before.
pub const LOOKUP_PATIENCE: Duration = Duration::from_secs(15);
/// After this long without an answer a step of `muses trace` is asked again, and the two behind it with it; and after so long
/// at least the trace ends.
pub const TRACE_QUICK: Duration = Duration::from_millis(300);
/// See [`TRACE_QUICK`].
pub const TRACE_PATIENCE: Duration = Duration::from_secs(2);
/// The same in round trips of the slowest answer so far, where that is more.
pub const TRACE_ROUNDS: (u32, u32) = (2, 4);
/// Hops that a packet may still make when it leaves its sender (R-O1).
pub const HOPS_MAX: u8 = 64;

/// Ring and credit that every channel owns from OPEN on, bytes each: it can always move. An OPEN
/// that cannot reserve it is refused.
pub const CHANNEL_FLOOR: usize = 2_048;
/// Elastic window that a channel starts with while memory is plentiful, bytes.
pub const CHANNEL_START: usize = 65_536;
/// Largest window of one direction of a channel, bytes: 1 Gbit/s over 250 ms (R-X2).
pub const CHANNEL_WINDOW_MAX: usize = 32 << 20;
/// Channels of one session; further OPENs are answered with "limit reached" (R-X2).
pub const CHANNELS_MAX: usize = 131_072;
/// OPENs of one peer that wait for their service; further ones are answered with "limit reached".
pub const OPENS_PENDING_MAX: usize = 1_024;
/// OPENs of one session that wait for their answer; further requests wait here until answers come. A
/// forwarder keeps 512 for one peer (R-A8) and refuses the rest; those that were given up meanwhile still
/// count there.
pub const OPENING_MAX: usize = 480;
/// Requests for channels that may wait at once; more are answered with "limit reached".
pub const REQUESTS_MAX: usize = 4_096;
/// Ranges of channel numbers that a peer may leave gaps between: gaps close when lost OPENs come again.
/// An OPEN or RESET that would make another one counts as not received, and comes again.
pub const OPENED_RANGES_MAX: usize = 1_024;
/// Pieces out of order that one channel keeps; further ones are dropped and come again.
pub const REASSEMBLY_PIECES_MAX: usize = 1_024;
/// What each of them costs beside its bytes, bytes: its place in the tree and the allocator's share.
pub const REASSEMBLY_PIECE_COST: usize = 64;

/// Ranges in one acknowledgement; older gaps are told by the next one.
pub const ACK_RANGES_MAX: usize = 32;
/// Ack-eliciting packets answered by one acknowledgement unless configured (the paper's n).
pub const ACK_EVERY: u32 = 16;
/// Bytes after which an acknowledgement goes out whatever n says.
pub const ACK_BYTES: u64 = 256 << 10;
/// Longest wait of an acknowledgement unless configured.
pub const ACK_DELAY: Duration = Duration::from_millis(5);
/// Packets behind an acknowledged one of the same path after which a packet counts as lost.
pub const LOSS_PACKETS: u64 = 3;
/// Bytes under way on a path of which nothing is known; more wait for acknowledgements.
pub const WINDOW_START: u64 = 128 << 10;
/// Worth of a path's rate that may be under way beside two round trips, for late acknowledgements; at
/// most [`ACK_BYTES`]. Twice their longest wait.
pub const WINDOW_SLACK: Duration = Duration::from_millis(10);
/// A packet that was sent this long, and three round trips, before an acknowledged one of *another* path
/// counts as lost: the path it went by was left, and nothing else would ever tell.
pub const LOSS_OTHER_PATH: Duration = Duration::from_secs(1);
/// Packets in flight that a sender remembers; it waits for an acknowledgement beyond.
pub const PACKETS_IN_FLIGHT_MAX: usize = 8_192;

/// Packets, bytes and age of a pair of keys after which a side starts the next one (R-K5).
pub const PAIR_PACKETS: u64 = 1 << 20;
/// See [`PAIR_PACKETS`].
pub const PAIR_BYTES: u64 = 1 << 30;
/// See [`PAIR_PACKETS`].
pub const PAIR_AGE: Duration = Duration::from_secs(600);
/// Packets sealed with a pair of keys after which nothing more is (R-K5, the bound of GCM): the session stands
/// still until the next pair is agreed.
pub const PAIR_PACKETS_MAX: u64 = 1 << 23;
/// Packets and Re-Hellos of one session that did not open, after which it ends (R-K5, the bound of Poly1305).
pub const FORGED_MAX: u64 = 1 << 36;
/// Least pause between two lines of the log about them.
pub const FORGED_TOLD: Duration = Duration::from_secs(60);

/// Without an answer for this long, or three round trips, the peer is suspected and probed.
pub const SUSPECT_AFTER: Duration = Duration::from_millis(200);
/// Without an authenticated answer for this long the session is suspended.
pub const SUSPEND_AFTER: Duration = Duration::from_secs(3);
/// A pause in which the session was not suspended is logged from this length on; shorter ones are not noticed.
pub const PAUSE_TOLD: Duration = Duration::from_millis(500);
/// Pause between heartbeats of a session with open channels and nothing to say.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// A session without channels says goodbye after this long.
pub const SESSION_IDLE: Duration = Duration::from_secs(600);
/// First and longest pause between tries of a handshake while channels wait (R-H9).
pub const HANDSHAKE_RETRY: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_secs(1));
/// Longest pause between tries of a handshake for which no channel waits (R-H9).
pub const HANDSHAKE_RETRY_IDLE: Duration = Duration::from_secs(90);
/// Half-open handshakes kept by a responder, in all and per initiator (R-H6); the oldest goes. As many of an
/// initiator that came to nothing are remembered.
pub const HALF_OPEN_MAX: (usize, usize) = (1_024, 4);
/// Half-open handshakes that came by one link (R-H6); the oldest of the link goes.
pub const HALF_OPEN_PER_LINK: usize = 64;
/// How long a node that stops keeps its links for the directory to take its tombstone (R-D3): two round trips, or
/// others learn only from its silence.
pub const FAREWELL: Duration = Duration::from_millis(200);
/// Life of a half-open handshake (R-H6).
pub const HALF_OPEN_LIFE: Duration = Duration::from_secs(10);
/// Handshakes per second and burst accepted from one neighbour (R-H7); further ones are dropped.
pub const HANDSHAKES_PER_SECOND: (u32, u32) = (20, 5);
/// Handshakes per second, from all neighbours, beyond which an initiator must show a cookie first (R-H7).
pub const HANDSHAKES_UNDER_LOAD: u32 = 50;
/// How long an initiator keeps a cookie; the responder takes it for two to four minutes (R-H7).
pub const COOKIE_LIFE: Duration = Duration::from_secs(120);
/// Pause between looks at the certificates of the peers of live sessions, and at grants (R-R11).
pub const RECHECK: Duration = Duration::from_secs(60);
/// How long something is remembered of a name of which nothing but Hellos has come, such as sessions that
/// were never heard of again. Chosen: longer than most outages that a handshake falls into.
pub const STRANGER_LIFE: Duration = Duration::from_secs(120);
/// Names of which something is remembered, such as the serial of a certificate; Hellos of further ones
/// are dropped unless one can be forgotten (R-X1).
pub const PEERS_MAX: usize = 16_384;
/// Sessions with one peer (R-X2); further handshakes of that peer are dropped.
pub const SESSIONS_PER_PEER: usize = 16;

/// Re-Hellos per second and burst that all sessions with one peer send by every way (R-R8): what so many sessions
/// need that begin at once and then ask every second. Further ones are as if lost.
pub const ASKS_PER_SECOND: (u32, u32) = (16, 32);

/// Bytes that may wait at a relay for one neighbour: 33 ms of 1 Gbit/s, and more than marks let wait. The
/// oldest frame of the longest flow of the neighbour that sent most is dropped beyond.
pub const RELAY_LINK_MAX: usize = 4 << 20;
/// Bytes of one neighbour that may wait at a relay, for whomever: two links full, so that one neighbour that
/// takes nothing leaves it half. The oldest frame of its longest flow, where most of it waits, is dropped
/// beyond.
pub const RELAY_INGRESS_MAX: usize = 8 << 20;
/// Bytes that may wait at a relay in all: a small part of the memory of any machine. The neighbour of which
/// most waits loses frames beyond.
pub const RELAY_NODE_MAX: usize = 32 << 20;
/// One of this many parts of `[limits] memory` is the most that waits at a relay, and as much is the most that
/// the directory fills: with less memory than a node usually has, their own bounds are too high.
pub const OVERLAY_MEMORY_PART: u64 = 8;
/// Per cent of their memory at which channels have half of the directory's, too, and below which it has it back
/// (R-X3).
pub const MEMORY_TIGHT: (u64, u64) = (90, 80);
/// What a waiting frame is charged with beside its bytes: its header, its place in the queue, and the
/// allocator's share. So at most 8,192 frames wait for one neighbour.
pub const RELAY_FRAME_COST: usize = 512;
/// Flows of one neighbour that have queues of their own on one link; further ones share one.
pub const RELAY_FLOWS_MAX: usize = 1_024;
/// A frame that has waited this long at a relay is marked: its session sends less.
pub const RELAY_MARK: Duration = Duration::from_millis(10);
/// Frames per second and burst that a relay passes on for one neighbour (R-O3): twice of what fills 1 Gbit/s
/// with the smallest packets. Further ones are dropped.
pub const RELAY_FRAMES_PER_SECOND: (u32, u32) = (200_000, 20_000);

/// A neighbour that has said nothing for this long is asked for a sign of life.
pub const LINK_PING: Duration = Duration::from_millis(500);
/// A link whose ping is unanswered for this long gets a second one beside it.
pub const LINK_DOUBT: Duration = Duration::from_secs(1);
/// The same after a hint that the network changed, or three round trips if those are longer.
pub const LINK_HURRY: Duration = Duration::from_millis(150);
/// A link whose ping is unanswered for this long is dead.
pub const LINK_DEAD: Duration = Duration::from_secs(3);
/// A link without news for this long is not asked unless a session uses it.
pub const LINK_PING_IDLE: Duration = Duration::from_secs(20);
/// How long a link that carried a frame of others counts as in use.
pub const LINK_RELAY_LINGER: Duration = Duration::from_secs(10);
/// Links of one node (R-O4).
pub const LINKS_MAX: usize = 1_024;
/// Proved links of one neighbour: both ends may dial at once, and each beside a link that it doubts. The
/// oldest ends beyond.
pub const LINKS_PER_NAME: usize = 4;
/// Links that may be replays, because no frame has opened on them yet; further ones are closed, and the
/// neighbour dials again without knowledge of us.
pub const LINKS_UNPROVED_MAX: usize = 64;
/// First messages of known neighbours that are remembered, so that a replay gets no answer; the oldest is
/// forgotten beyond.
pub const LINK_FIRSTS_MAX: usize = 16_384;
/// Names of neighbours of which static key and serial are remembered; any other is forgotten beyond.
pub const LINK_KNOWN_MAX: usize = 16_384;
/// Whole handshake of a link, from the first byte to the last (R-X5).
pub const LINK_HANDSHAKE: Duration = Duration::from_secs(5);
/// One try to dial a link, handshake included.
pub const LINK_DIAL: Duration = Duration::from_secs(3);
/// A known neighbour that has not answered for this long, or two round trips if those are longer, may have
/// another key by now: it is dialled without knowledge beside.
pub const LINK_KNOWN_PATIENCE: Duration = Duration::from_millis(250);
/// Pause between tries to dial while channels wait.
pub const REDIAL: Duration = Duration::from_secs(1);
/// Longest pause between tries to dial while nothing waits.
pub const REDIAL_MAX: Duration = Duration::from_secs(60);
/// Longest pause between tries to dial, while channels wait, who does not take our links.
pub const REDIAL_REFUSED: Duration = Duration::from_secs(8);
/// How long a link that was in doubt is kept beside the one that replaced it.
pub const LINK_OVERLAP: Duration = Duration::from_secs(5);
/// Tries per endpoint under way at once.
pub const DIALS_AT_ONCE: usize = 2;
/// Connections that may wait in the kernel to be accepted; further ones try again after a second.
pub const ACCEPT_QUEUE: u32 = 4_096;
/// Inbound link handshakes under way at once, strangers included; the oldest goes when another comes.
pub const LINK_GREETINGS_MAX: usize = 256;
/// Least and most descriptors kept back for links, control and resolving; an eighth of the process's
/// limit in between. Connections of applications wait and OPENs are answered with "limit reached" when
/// all others are taken (R-F10).
pub const DESCRIPTORS_KEPT: (u64, u64) = (8, 512);
/// Bytes sealed for a link in one turn at most: two of the largest packets.
pub const LINK_TURN: usize = 128_000;
/// Most unsent bytes that the kernel may hold for a link (`TCP_NOTSENT_LOWAT`): its rate decides below.
/// With fewer a fast link's writer is woken too often (docs/BENCHMARKS.md).
pub const LINK_BACKLOG: usize = 512 << 10;
/// The same for a slow link.
pub const LINK_BACKLOG_MIN: usize = 4 << 10;
/// The same for a link whose rate is not known yet.
pub const LINK_BACKLOG_START: usize = 32 << 10;
/// How long a link without anything to send keeps its write buffer, and one without anything to read its
/// read buffer.
pub const LINK_BUFFER_LINGER: Duration = Duration::from_secs(1);
/// Bytes of messages that wait for a link to take them, [`RELAY_FRAME_COST`] for each included: a hundred
/// of the directory's requests. The oldest of what somebody says again goes beyond.
pub const LINK_OUTBOX_MAX: usize = 128 << 10;
/// Bytes read from a link in one turn.
pub const LINK_READ: usize = 256 << 10;
/// Frames taken from a link in one turn (R-X4).
pub const LINK_READ_FRAMES: usize = 64;
/// Bytes moved for one connection in one turn.
pub const PUMP_TURN: usize = 128 << 10;
/// Commands that wait for the core thread; senders wait beyond.
pub const COMMANDS_MAX: usize = 4_096;
/// Records of others that a node keeps (R-D6); the farthest, then those that expire first, go beyond.
pub const DIRECTORY_RECORDS_MAX: usize = 65_536;
/// The same in bytes, [`DIRECTORY_ENTRY_BYTES`] for each record included.
pub const DIRECTORY_BYTES_MAX: usize = 64 << 20;
/// What a record costs beside its own bytes, roughly: tree nodes of two indexes and its name in each.
pub const DIRECTORY_ENTRY_BYTES: usize = 320;
/// One of this many parts of both is the share of what came by one neighbour (R-D6); its farthest go beyond.
pub const DIRECTORY_SHARES: usize = 4;
/// Puts per second and burst that one neighbour may send or pass on to us (R-D6); further ones are answered
/// with "busy". The burst is what a node behind it puts when it joins, three times over.
pub const DIRECTORY_PUTS: (u32, u32) = (10, 30);
/// Requests and answers per second and burst that are passed on for one neighbour; further ones are dropped
/// and asked again. At 1,500 bytes they are less than 1 MB/s.
pub const DIRECTORY_RELAYED: (u32, u32) = (500, 1_000);
/// Digests per second and burst of one neighbour; each costs a pass over the records in its ranges.
pub const DIRECTORY_DIGESTS: (u32, u32) = (1, 5);
/// Lists, wants and copies per second and burst of one neighbour; further ones are dropped until the next
/// digest.
pub const DIRECTORY_SYNCS: (u32, u32) = (50, 100);
/// Signatures checked per second and burst (R-D6), a hundredth of a core; puts are refused when half of the
/// burst is used up, copies wait for the next digest when three quarters are, the rest is for answers.
pub const DIRECTORY_CHECKS: (u32, u32) = (200, 200);
/// Neighbours whose rates are remembered; those that were silent longest are forgotten beyond.
pub const DIRECTORY_RATES_MAX: usize = 2 * LINKS_MAX;
/// Look-ups under way at once; further ones find nothing.
pub const DIRECTORY_QUERIES_MAX: usize = 1_024;
/// Who may wait for one look-up; further ones find nothing.
pub const DIRECTORY_WAITERS_MAX: usize = 4_096;
/// Records under way to their places at once, own ones apart; others wait until the next round.
pub const DIRECTORY_ERRANDS_MAX: usize = 64;
/// Copies that wait to be sent to neighbours; further ones wait until the next digest.
pub const DIRECTORY_PUSHES_MAX: usize = 8_192;
/// Messages that wait for their links; further ones are dropped and asked again.
pub const DIRECTORY_OUTBOX_MAX: usize = 1_024;
/// Names of which the highest number seen is remembered (R-D5); the one asked for longest ago goes.
pub const DIRECTORY_FLOORS_MAX: usize = 16_384;
/// Records found that are remembered; the one that ends first goes.
pub const DIRECTORY_CACHE_MAX: usize = 1_024;
/// How long they are.
pub const DIRECTORY_CACHE_LIFE: Duration = Duration::from_secs(20);
/// Life of a record (R-D3).
pub const DIRECTORY_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
/// Pause between refreshes by the publisher (R-D3); up to a tenth is taken off by chance.
pub const DIRECTORY_REFRESH: Duration = Duration::from_secs(600);
/// Least pause between two records of one publisher in the mean (R-D3).
pub const DIRECTORY_MOVE: Duration = Duration::from_secs(5);
/// Records of one publisher that may follow each other at once: an end that moves twice in a row, as when a root
/// dies, could not be found for as long otherwise.
pub const DIRECTORY_MOVES: u32 = 3;
/// Pause between digests (R-D3); up to a tenth is taken off by chance.
pub const DIRECTORY_DIGEST: Duration = Duration::from_secs(30);
/// Pause between a change of arcs and the hand-over of records that are another's now, and between the change
/// and the digest about it: changes come in rows, and each costs a pass over all records.
pub const DIRECTORY_SETTLE: (Duration, Duration) =
    (Duration::from_millis(200), Duration::from_secs(1));
/// Pause between messages that carry copies or lists.
pub const DIRECTORY_PACE: Duration = Duration::from_millis(50);
/// A record that is another's is brought there when nobody has confirmed it for this long: three digests.
pub const DIRECTORY_UNCONFIRMED: Duration = Duration::from_secs(95);
/// The same when its keeper may have changed: time for a digest about it.
pub const DIRECTORY_DOUBT: Duration = Duration::from_secs(4);
/// A request without an answer for this long goes again, by the links of the tree.
pub const DIRECTORY_PATIENCE: Duration = Duration::from_secs(1);
/// A look-up ends after this long with what there is.
pub const DIRECTORY_LOOKUP: Duration = Duration::from_secs(3);
/// Longest pause between tries to put a record.
pub const DIRECTORY_RETRY_MAX: Duration = Duration::from_secs(16);
/// How long a token is taken at least; at most twice as long (R-D7).
pub const DIRECTORY_TOKEN: Duration = Duration::from_secs(60);
/// How far in the future a record's number may lie (R-D2).
pub const DIRECTORY_AHEAD: Duration = Duration::from_secs(600);
/// How far in the future a record's end may lie (R-D2).
pub const DIRECTORY_EXPIRY_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Nodes that a root names to take its place, in order.
pub const TREE_DEPUTIES_MAX: usize = 3;
/// Pause between two signs of life of the root. It bounds how long a node without a closer neighbour waits
/// until it may hang itself elsewhere without a loop.
pub const TREE_PULSE: Duration = Duration::from_secs(1);
/// Without a sign of life for this long a node asks its neighbours for newer ones.
pub const TREE_ASK_AFTER: Duration = Duration::from_millis(1_300);
/// Without a sign of life for this long a node leaves its parent for a neighbour that has newer ones.
pub const TREE_LEAVE_AFTER: Duration = Duration::from_millis(1_700);
/// Without a sign of life for this long the first deputy that lost its link to the root takes its place;
/// each further one waits for [`TREE_DEPUTY_NEXT`] more.
pub const TREE_DEPUTY_AFTER: Duration = Duration::from_millis(2_400);
/// See [`TREE_DEPUTY_AFTER`].
pub const TREE_DEPUTY_NEXT: Duration = Duration::from_millis(700);
/// A deputy whose link to the root still stands waits for this much longer.
pub const TREE_DEPUTY_LINKED: Duration = Duration::from_secs(2);
/// Without a sign of life for this long a node without a parent founds a tree with what hangs on it.
pub const TREE_FOUND_AFTER: Duration = Duration::from_millis(3_500);
/// The same for a child of the root, which waits for the deputies.
pub const TREE_FOUND_LAST: Duration = Duration::from_secs(6);
/// Without a sign of life for this long the parent counts as lost.
pub const TREE_SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long a former place is kept: neighbours forward to it, and the parent keeps its slot.
pub const TREE_GRACE: Duration = Duration::from_secs(10);
/// Former places kept of oneself and of each neighbour; the oldest goes.
pub const TREE_ALIASES_MAX: usize = 3;
/// How long a neighbour may take to answer the wish for a slot, and to take up one.
pub const TREE_ANSWER: Duration = Duration::from_secs(1);
/// A neighbour that gave no slot is not asked again for this long.
pub const TREE_REFUSED: Duration = Duration::from_secs(2);
/// A parent that gave one slot twice is not asked again for this long.
pub const TREE_AVOIDED: Duration = Duration::from_secs(60);
/// A node whose parent has not followed to a new root for this long goes there by itself.
pub const TREE_FOLLOW: Duration = Duration::from_millis(600);
/// How long pulses go to a neighbour that asked for news.
pub const TREE_NEWS: Duration = Duration::from_secs(4);
/// Least pause between two questions for news to one neighbour.
pub const TREE_QUERY_PAUSE: Duration = Duration::from_millis(900);
/// Least pause between two rounds of announcements; what changes meanwhile waits.
pub const TREE_ANNOUNCE_PAUSE: Duration = Duration::from_millis(100);
/// Pause between reminders to all neighbours, by which a lost announcement is noticed.
pub const TREE_REFRESH: Duration = Duration::from_secs(30);
/// A neighbour must have been closer to the root by [`TREE_BETTER_STEPS`] for this long before it
/// becomes the parent without need.
pub const TREE_BETTER_AFTER: Duration = Duration::from_secs(10);
/// See [`TREE_BETTER_AFTER`].
pub const TREE_BETTER_STEPS: usize = 2;
/// A better neighbour that gave no slot counts as better only from this long after on.
pub const TREE_BETTER_REST: Duration = Duration::from_secs(60);
/// A node on which at most so many hang, itself included, becomes the child of a better neighbour for a single
/// step: routes are 6 % shorter for it (docs/BENCHMARKS.md), and few move.
pub const TREE_LIGHT: u64 = 8;
/// Least pause between two charters of a root.
pub const TREE_CHARTER_PAUSE: Duration = Duration::from_secs(2);
/// Least pause between two cuts of a node's keys while shares are off by more than twice.
pub const TREE_CUT_PAUSE: Duration = Duration::from_secs(5);
/// Pause after which shares that are off by less are cut anew, if no weight changed for
/// [`TREE_CUT_QUIET`].
pub const TREE_CUT_REST: Duration = Duration::from_secs(30);
/// See [`TREE_CUT_REST`].
pub const TREE_CUT_QUIET: Duration = Duration::from_secs(8);
/// Pause after which they are cut anew in any case: who changes its weight all the time does not hold shares as they are.
pub const TREE_CUT_LATEST: Duration = Duration::from_secs(120);
/// Least pause between two reports of a weight to the parent.
pub const TREE_WEIGHT_PAUSE: Duration = Duration::from_millis(500);
/// Pause after which a weight that changed by less than an eighth is reported.
pub const TREE_WEIGHT_REST: Duration = Duration::from_secs(10);
/// Tree messages per second and burst accepted from one neighbour; more end the link.
pub const TREE_MESSAGES_PER_SECOND: (u32, u32) = (40, 400);
/// Other roots per second and burst that one neighbour may come to hang on; more end the link.
pub const TREE_ROOTS_PER_SECOND: (u32, u32) = (1, 30);
/// How long another tree must have been there before a node that changed its tree of late goes to it: the
/// first doubles with each change, up to the second.
pub const TREE_MERGE_HOLD: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(600));
/// Time after which one change of tree is forgotten.
pub const TREE_MERGE_CALM: Duration = Duration::from_secs(600);
/// Checked statements that are remembered, and how many more per neighbour; the oldest goes and is checked
/// again if need be.
pub const TREE_CHECKED_MAX: (usize, usize) = (16, 4);
/// Signatures per second and burst that are checked for one neighbour (R-X4), and for all of them, half of the burst of
/// which is left to the parent and to who was asked to be. What comes beyond counts as lost on the way.
pub const TREE_CHECKS_EACH: (u32, u32) = (40, 400);
/// See [`TREE_CHECKS_EACH`].
pub const TREE_CHECKS: (u32, u32) = (400, 4_000);
/// Pause between two probes of the own place (R-O5), up to a quarter more or less by chance.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);
/// The class of a tree from which on the pause doubles with each further one, and how often it does: at 4,096 nodes a root
/// passes 70 probes a second, as few as its neighbours are sure to hand on.
pub const PROBE_CLASS: (u8, u8) = (12, 4);
/// Pause between one that was lost and the next: time for a tree to mend.
pub const PROBE_AGAIN: Duration = Duration::from_secs(5);
/// Least pause between two while sessions wait in vain.
pub const PROBE_SOON: Duration = Duration::from_secs(10);
/// A probe that has not come home for this long is lost.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// A parent that was left because probes were lost is not asked again for this long, and no other one left.
pub const TREE_SHUNNED: Duration = Duration::from_secs(300);
/// Messages that wait for their owner, per neighbour and in all beside; announcements beyond are dropped and come with
/// the next reminder.
pub const TREE_QUEUE_MAX: (usize, usize) = (16, 64);
