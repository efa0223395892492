//! Viewers on connections that take bytes slowly, break, or are not theirs: what the hub does about them, in virtual
//! time. What connections themselves do is in `connections`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use _engine::address::{ConnectionId, Protocol, TransportAddress};
use _engine::h264::Packetized;
use _engine::hub::{Hub, Keys, SourceFrame, Start};
use _engine::ice::Ice;
use _engine::media::Negotiated;
use _engine::srtp::Profile;
use _engine::transmit::Transmit;
use proptest::prelude::*;

mod common;

use common::binding_request;

const STREAM: u64 = 1;
const PASSWORD: &str = "a-password-of-24-letters";
const FRAME: Duration = Duration::from_millis(40);

/// Datagrams by where they go; a way that has a rate takes no more bytes a frame than that.
#[derive(Default)]
struct Wire {
    sent: Vec<(TransportAddress, Vec<usize>, Vec<u8>)>,
    unsent: HashMap<TransportAddress, usize>,
    rates: HashMap<TransportAddress, usize>,
    closed: Vec<TransportAddress>,
}

impl Transmit for Wire {
    fn message(&mut self, to: TransportAddress, segment: usize, len: usize) -> &mut [u8] {
        if self.rates.contains_key(&to) {
            *self.unsent.entry(to).or_default() += len;
        }
        let sizes = (0..len).step_by(segment).map(|at| segment.min(len - at));
        self.sent.push((to, sizes.collect(), vec![0; len]));
        &mut self.sent.last_mut().unwrap().2
    }

    fn unsent(&self, to: TransportAddress) -> usize {
        self.unsent.get(&to).copied().unwrap_or(0)
    }

    fn close(&mut self, to: TransportAddress) {
        self.closed.push(to);
    }
}

impl Wire {
    fn pass(&mut self) {
        for (to, rate) in &self.rates {
            let unsent = self.unsent.entry(*to).or_default();
            *unsent = unsent.saturating_sub(*rate);
        }
    }

    fn take(&mut self, to: TransportAddress) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        for (_, sizes, data) in self.sent.iter().filter(|(at, ..)| *at == to) {
            let mut rest = &data[..];
            for size in sizes {
                let (datagram, after) = rest.split_at(*size);
                datagrams.push(datagram.to_vec());
                rest = after;
            }
        }
        self.sent.retain(|(at, ..)| *at != to);
        datagrams
    }

    fn rtp(&mut self, to: TransportAddress) -> Vec<Vec<u8>> {
        let all = self.take(to);
        let is_rtp = |d: &Vec<u8>| d[0] >> 6 == 2 && d[1] & 0x7f == 96;
        all.into_iter().filter(is_rtp).collect()
    }
}

fn udp(host: u8) -> TransportAddress {
    SocketAddr::from(([192, 0, 2, host], 5000)).into()
}

fn tcp(slot: u32) -> TransportAddress {
    TransportAddress {
        socket: udp(100).socket,
        protocol: Protocol::Tcp(ConnectionId { slot, turn: 1 }),
    }
}

/// A Binding request to viewer `id`.
fn request(id: u64, password: &str, nominate: bool) -> Vec<u8> {
    binding_request(&format!("our{id}:them"), password, nominate)
}

struct Scene {
    hub: Hub,
    wire: Wire,
    now: Instant,
    clock: i64,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        let mut hub = Hub::new(now, 0);
        hub.open_stream(STREAM);
        Self {
            hub,
            wire: Wire::default(),
            now,
            clock: 0,
        }
    }

    fn check(&mut self, id: u64, from: TransportAddress) {
        let mut request = request(id, PASSWORD, true);
        self.hub
            .datagram(from, &mut request, self.now, &mut self.wire);
    }

    fn join(&mut self, id: u64, from: TransportAddress) {
        let ice = Ice::new(&format!("our{id}"), PASSWORD, "them", self.now);
        let negotiated = Negotiated {
            payload_type: 96,
            ssrc: id as u32,
            cname: "pancar".into(),
            mid: None,
            playout_delay: None,
            rtx: None,
        };
        self.hub.add_viewer(id, STREAM, ice, negotiated, self.now);
        self.check(id, from);
        let pair = || (vec![id as u8; 16], vec![2; 12]);
        let start = Start {
            keys: Keys {
                profile: Profile::AeadAes128Gcm,
                send: pair(),
                receive: pair(),
            },
            last_flight: vec![22],
            close_notify: b"\x15close".to_vec(),
            random: (100, 0),
        };
        self.hub
            .start_media(id, start, self.now, &mut self.wire)
            .unwrap();
    }

    /// One frame and the time until the next.
    fn frame(&mut self, key: bool, packets: usize) {
        let frame = SourceFrame {
            packets: Packetized {
                data: vec![self.clock as u8; packets * 1000],
                ends: (1..=packets as u32).map(|i| i * 1000).collect(),
            },
            timestamp: self.clock,
            key,
            bytes: 0,
        };
        self.clock += 3600;
        self.hub.frame(STREAM, frame, self.now, &mut self.wire);
        let next = self.now + FRAME;
        while self.hub.deadline() <= next {
            self.now = self.now.max(self.hub.deadline());
            self.hub.timeout(self.now, &mut self.wire);
        }
        self.now = next;
        self.wire.pass();
    }

    /// A GOP of a second.
    fn gop(&mut self) {
        self.frame(true, 40);
        (1..25).for_each(|_| self.frame(false, 8));
    }

    fn dropped(&self, id: u64) -> u64 {
        let stats = self.hub.viewer_stats();
        let found = stats.iter().find(|s| s.viewer == id).unwrap();
        found.counters.dropped.frames()
    }
}

fn sequences(packets: &[Vec<u8>]) -> Vec<u16> {
    let of = |p: &Vec<u8>| u16::from_be_bytes([p[2], p[3]]);
    packets.iter().map(of).collect()
}

fn timestamps(packets: &[Vec<u8>]) -> Vec<u32> {
    let of = |p: &Vec<u8>| u32::from_be_bytes([p[4], p[5], p[6], p[7]]);
    let mut found: Vec<u32> = packets.iter().map(of).collect();
    found.dedup();
    found
}

fn in_one_row(sequences: &[u16]) -> bool {
    sequences.windows(2).all(|w| w[1] == w[0].wrapping_add(1))
}

#[test]
fn who_is_too_slow_does_without_frames_until_a_key_frame_and_nobody_else_does() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(1));
    scene.join(3, udp(3));
    scene.gop();
    // Half of what the stream takes.
    scene.wire.rates.insert(tcp(1), 5_000);
    let mut most = 0;
    for _ in 0..20 {
        scene.gop();
        most = most.max(scene.wire.unsent(tcp(1)));
    }
    let (slow, quick) = (scene.wire.rtp(tcp(1)), scene.wire.rtp(udp(3)));
    assert_eq!(timestamps(&quick).len(), 25 * 22);
    let shown = timestamps(&slow).len();
    assert!((50..400).contains(&shown), "{shown} frames");
    // What is not shown was left out, but for the newest, which wait.
    let waiting = 25 * 22 - shown as u64 - scene.dropped(2);
    assert!(waiting <= 50, "{waiting} frames are nowhere");
    assert_eq!(scene.dropped(3), 0);
    assert!(in_one_row(&sequences(&slow)), "a number is missing");
    // After each gap comes a key frame.
    let clocks = timestamps(&slow);
    let gaps = clocks.windows(2).filter(|w| w[1] - w[0] > 3600);
    let after: Vec<u32> = gaps.map(|w| w[1] / 3600 % 25).collect();
    assert!(
        after.len() > 5 && after.iter().all(|frame| *frame == 0),
        "{after:?}"
    );
    assert!(most < 150_000, "{most} bytes waited");
}

#[test]
fn who_takes_nothing_at_all_costs_no_more_than_a_few_key_frames_room() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(1));
    scene.wire.rates.insert(tcp(1), 0);
    (0..20).for_each(|_| scene.gop());
    let unsent = scene.wire.unsent(tcp(1));
    assert!((60_000..150_000).contains(&unsent), "{unsent} bytes");
    assert!(scene.dropped(2) > 25 * 17);
}

#[test]
fn a_viewer_whose_connection_breaks_goes_on_by_another_without_a_gap() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(1));
    (0..5).for_each(|_| scene.frame(false, 8));
    let before = scene.wire.rtp(tcp(1));
    scene.hub.disconnected(tcp(1), scene.now);
    (0..10).for_each(|_| scene.frame(false, 8));
    assert!(scene.wire.sent.is_empty(), "something goes nowhere");
    scene.check(2, tcp(2));
    (0..10).for_each(|_| scene.frame(false, 8));
    let all = [before, scene.wire.rtp(tcp(2))].concat();
    assert_eq!(timestamps(&all).len(), 50);
    assert!(in_one_row(&sequences(&all)));
}

#[test]
fn who_does_not_come_back_after_his_connection_has_left() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(1));
    scene.hub.disconnected(tcp(1), scene.now);
    (0..7).for_each(|_| scene.gop());
    assert!(scene.hub.viewer_stats().is_empty());
}

#[test]
fn connections_of_a_viewer_end_with_him_behind_his_goodbye() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(1));
    scene.check(2, tcp(2));
    scene.check(2, udp(2));
    scene.hub.remove_viewer(2, scene.now, &mut scene.wire);
    scene.wire.closed.sort_by_key(|a| format!("{a:?}"));
    assert!(scene.wire.closed.contains(&tcp(1)) && scene.wire.closed.contains(&tcp(2)));
    assert_eq!(scene.wire.take(tcp(1)).last().unwrap(), b"\x15close");
    assert!(!scene.hub.proves(tcp(1)) && !scene.hub.proves(udp(2)));
}

#[test]
fn connections_beyond_what_a_viewer_may_hold_are_ended() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, tcp(0));
    (1..20).for_each(|slot| scene.check(2, tcp(slot)));
    assert_eq!(scene.wire.closed.len(), 12);
    assert!(scene.hub.proves(tcp(0)), "the one in use ended");
}

#[test]
fn a_request_that_is_not_authentic_gets_no_answer_and_moves_nothing() {
    let mut scene = Scene::new();
    scene.gop();
    scene.join(2, udp(2));
    scene.gop();
    scene.wire.sent.clear();
    let victim = udp(66);
    let valid = request(2, PASSWORD, true);
    let mut forged = vec![
        request(2, "another-password-of-24-l", true),
        request(9, PASSWORD, true),
    ];
    // One bit of any byte, and none of MESSAGE-INTEGRITY at all.
    forged.extend((0..valid.len()).map(|at| {
        let mut changed = valid.clone();
        changed[at] ^= 1;
        changed
    }));
    let mut bare = valid[..valid.len() - 24].to_vec();
    let length = (bare.len() - 20) as u16;
    bare[2..4].copy_from_slice(&length.to_be_bytes());
    forged.push(bare);
    for mut datagram in forged {
        scene.now += Duration::from_millis(10);
        scene
            .hub
            .datagram(victim, &mut datagram, scene.now, &mut scene.wire);
        assert!(scene.wire.sent.is_empty());
        assert!(!scene.hub.proves(victim));
    }
    scene.frame(false, 1);
    assert_eq!(scene.wire.rtp(udp(2)).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One SRTP index seals one byte string (RFC 7714, 9.1), however slow the way and however often it breaks.
    #[test]
    fn one_index_seals_one_byte_string_on_slow_and_breaking_connections(
        steps in prop::collection::vec((0u8..12, 1usize..60, 0usize..60_000), 1..150),
    ) {
        let mut scene = Scene::new();
        let mut sealed: HashMap<u16, Vec<u8>> = HashMap::new();
        let mut slot = 0;
        scene.frame(true, 3);
        scene.join(2, tcp(slot));
        for (kind, packets, rate) in steps {
            match kind {
                0 => {
                    scene.hub.disconnected(tcp(slot), scene.now);
                    scene.wire.rates.clear();
                    slot += 1;
                }
                1 => scene.check(2, tcp(slot)),
                2 => {
                    scene.wire.rates.insert(tcp(slot), rate);
                }
                3 => scene.frame(true, packets),
                _ => scene.frame(false, packets),
            }
            for packet in (0..=slot).flat_map(|slot| scene.wire.rtp(tcp(slot))) {
                let sequence = u16::from_be_bytes([packet[2], packet[3]]);
                if let Some(before) = sealed.insert(sequence, packet.clone()) {
                    prop_assert_eq!(before, packet);
                }
            }
        }
        prop_assert!(sealed.len() < 60_000);
    }
}
