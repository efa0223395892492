//! The hub with viewers on a fake wire: what leaves the relay, packet by packet, in virtual time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use _engine::address::TransportAddress;
use _engine::event::{EndReason, Event};
use _engine::h264::Packetized;
use _engine::hub::{Hub, Keys, SourceFrame, Start};
use _engine::ice::{Credentials, Ice};
use _engine::media::Negotiated;
use _engine::srtp::{self, Profile};
use _engine::transmit::Transmit;
use proptest::prelude::*;

mod common;

use common::binding_request;

const STREAM: u64 = 1;
const VIEWER: u64 = 2;
const KEY: [u8; 16] = [1; 16];
const SALT: [u8; 12] = [2; 12];
const PASSWORD: &str = "a-password-of-24-letters";
const ANOTHER_PASSWORD: &str = "a-password-of-a-restart-";

/// Datagrams as the kernel would cut them.
#[derive(Default)]
struct Wire {
    sent: Vec<(TransportAddress, usize, Vec<u8>)>,
}

impl Transmit for Wire {
    fn message(&mut self, to: TransportAddress, segment: usize, len: usize) -> &mut [u8] {
        assert!(
            len <= 62_000 && len.div_ceil(segment) <= 48,
            "beyond one GSO send"
        );
        self.sent.push((to, segment, vec![0; len]));
        &mut self.sent.last_mut().unwrap().2
    }
}

impl Wire {
    fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let sent = std::mem::take(&mut self.sent);
        sent.iter()
            .flat_map(|(_, segment, data)| data.chunks(*segment).map(<[u8]>::to_vec))
            .collect()
    }

    /// RTP packets: version 2, payload type 96, no RTCP.
    fn rtp(&mut self) -> Vec<Vec<u8>> {
        self.datagrams()
            .into_iter()
            .filter(|d| d[0] >> 6 == 2 && d[1] & 0x7f == 96)
            .collect()
    }
}

fn viewer_address() -> TransportAddress {
    std::net::SocketAddr::from(([192, 0, 2, 1], 5000)).into()
}

/// Under the credentials that the viewer joined with.
fn own_check(nominate: bool) -> Vec<u8> {
    binding_request("ours:them", PASSWORD, nominate)
}

fn keys() -> Keys {
    let pair = || (KEY.to_vec(), SALT.to_vec());
    Keys {
        profile: Profile::AeadAes128Gcm,
        send: pair(),
        receive: pair(),
    }
}

/// Of an ICE restart.
fn again(local_ufrag: &str) -> Credentials {
    Credentials {
        local_ufrag: local_ufrag.into(),
        local_pwd: ANOTHER_PASSWORD.into(),
        remote_ufrag: "them".into(),
    }
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

    /// ICE and keys; the burst starts.
    fn join(&mut self) {
        let ice = Ice::new("ours", PASSWORD, "them", self.now);
        let negotiated = Negotiated {
            payload_type: 96,
            ssrc: 0x1234_5678,
            cname: "pancar".into(),
            mid: Some((1, "0".into())),
            playout_delay: Some(2),
            rtx: None,
        };
        self.hub
            .add_viewer(VIEWER, STREAM, ice, negotiated, self.now);
        self.hub.datagram(
            viewer_address(),
            &mut own_check(true),
            self.now,
            &mut self.wire,
        );
        let start = Start {
            keys: keys(),
            last_flight: b"\x16last flight".to_vec(),
            close_notify: b"\x15close".to_vec(),
            random: (0x7ffe, 77),
        };
        self.hub
            .start_media(VIEWER, start, self.now, &mut self.wire)
            .unwrap();
    }

    fn frame(&mut self, key: bool, sizes: &[usize]) {
        let data: Vec<u8> = (0..sizes.iter().sum::<usize>())
            .map(|i| (i as i64 + self.clock) as u8)
            .collect();
        let ends = sizes
            .iter()
            .scan(0, |end, size| {
                *end += *size as u32;
                Some(*end)
            })
            .collect();
        let frame = SourceFrame {
            bytes: data.len() as u64,
            packets: Packetized { data, ends },
            timestamp: self.clock,
            key,
        };
        self.clock += 3600;
        self.hub.frame(STREAM, frame, self.now, &mut self.wire);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.hub.deadline() <= end {
            self.now = self.now.max(self.hub.deadline());
            self.hub.timeout(self.now, &mut self.wire);
        }
        self.now = end;
    }

    /// A STUN request that is answered where it came from.
    fn stun(&mut self, from: TransportAddress, mut message: Vec<u8>) {
        self.wire.sent.clear();
        self.hub
            .datagram(from, &mut message, self.now, &mut self.wire);
        let answered: Vec<_> = self.wire.sent.drain(..).map(|(to, ..)| to).collect();
        assert_eq!(answered, [from]);
    }

    fn nack(&mut self, peer: &mut srtp::Sender, sequences: &[u16]) {
        self.nack_from(viewer_address(), peer, sequences);
    }

    fn nack_from(&mut self, from: TransportAddress, peer: &mut srtp::Sender, sequences: &[u16]) {
        let mut packet = vec![0x81, 205];
        packet.extend_from_slice(&((2 + sequences.len()) as u16).to_be_bytes());
        packet.extend_from_slice(&9u32.to_be_bytes());
        packet.extend_from_slice(&0x1234_5678u32.to_be_bytes());
        for sequence in sequences {
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&[0, 0]);
        }
        peer.seal_rtcp(&mut packet).unwrap();
        self.hub
            .datagram(from, &mut packet, self.now, &mut self.wire);
    }
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn playout_delay(packet: &[u8]) -> &[u8] {
    // 12 bytes of header, 4 of extension frame, the element's id and length.
    &packet[17..20]
}

#[test]
fn a_viewer_gets_the_cached_gop_at_once_and_then_the_live_edge() {
    let mut scene = Scene::new();
    scene.frame(true, &[20, 1000, 1000, 300]);
    scene.frame(false, &[1000, 200]);
    scene.join();
    let burst = scene.wire.rtp();
    assert_eq!(burst.len(), 6);
    assert!(burst.iter().all(|p| playout_delay(p) == [0, 0, 0]));
    scene.frame(false, &[500]);
    let live = scene.wire.rtp();
    assert_eq!(live.len(), 1);
    assert_eq!(playout_delay(&live[0]), [0, 0, 40]);
    let all: Vec<u16> = burst.iter().chain(&live).map(|p| sequence(p)).collect();
    assert!(
        all.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "{all:?}"
    );
    let timestamp = |p: &[u8]| u32::from_be_bytes([p[4], p[5], p[6], p[7]]);
    assert_eq!(
        timestamp(&burst[4]).wrapping_sub(timestamp(&burst[0])),
        3600
    );
    assert_eq!(
        burst.iter().map(|p| p[1] >> 7).collect::<Vec<_>>(),
        [0, 0, 0, 1, 0, 1]
    );
}

#[test]
fn a_large_gop_is_paced_and_reaches_the_live_edge() {
    let mut scene = Scene::new();
    scene.frame(true, &[1000; 40]);
    for _ in 0..250 {
        scene.frame(false, &[1000; 8]);
    }
    scene.join();
    let at_once: usize = scene.wire.rtp().iter().map(Vec::len).sum();
    assert!(at_once < 80_000, "{at_once} bytes at once");
    scene.pass(Duration::from_millis(280));
    scene.wire.rtp();
    scene.frame(false, &[700]);
    let live = scene.wire.rtp();
    assert_eq!(playout_delay(live.last().unwrap()), [0, 0, 40]);
}

#[test]
fn without_a_picture_yet_it_starts_at_the_first_key_frame() {
    let mut scene = Scene::new();
    scene.join();
    scene.frame(false, &[100]);
    assert!(scene.wire.rtp().is_empty());
    scene.frame(true, &[30, 900]);
    assert_eq!(scene.wire.rtp().len(), 2);
}

#[test]
fn who_falls_silent_expires_and_is_told() {
    let mut scene = Scene::new();
    scene.frame(true, &[30, 900]);
    scene.join();
    scene.pass(Duration::from_secs(29));
    assert!(scene.hub.events().next().is_none());
    scene.wire.datagrams();
    scene.pass(Duration::from_secs(2));
    let ended: Vec<Event> = scene.hub.events().collect();
    assert!(
        matches!(
            ended[..],
            [Event::ViewerEnded {
                viewer: VIEWER,
                reason: EndReason::Expired
            }]
        ),
        "{ended:?}"
    );
    assert_eq!(scene.wire.datagrams().last().unwrap(), b"\x15close");
}

#[test]
fn a_forged_stun_request_admits_nobody_and_dtls_needs_a_proven_address() {
    let mut scene = Scene::new();
    let ice = Ice::new("ours", "another-password-of-24-l", "them", scene.now);
    let negotiated = Negotiated {
        payload_type: 96,
        ssrc: 1,
        cname: "x".into(),
        mid: None,
        playout_delay: None,
        rtx: None,
    };
    scene
        .hub
        .add_viewer(VIEWER, STREAM, ice, negotiated, scene.now);
    scene.hub.datagram(
        viewer_address(),
        &mut own_check(true),
        scene.now,
        &mut scene.wire,
    );
    scene.hub.datagram(
        viewer_address(),
        &mut [22, 254, 253, 0],
        scene.now,
        &mut scene.wire,
    );
    assert!(scene.wire.datagrams().is_empty());
    assert!(scene.hub.events().next().is_none());
    assert_eq!(scene.hub.rejected(), 2);
}

#[test]
fn a_late_handshake_record_gets_the_last_flight_but_not_in_a_flood() {
    let mut scene = Scene::new();
    scene.frame(true, &[30]);
    scene.join();
    scene.wire.datagrams();
    for _ in 0..10 {
        scene.hub.datagram(
            viewer_address(),
            &mut [22, 254, 253, 0],
            scene.now,
            &mut scene.wire,
        );
    }
    assert_eq!(scene.wire.datagrams(), [b"\x16last flight"]);
}

#[test]
fn a_nacked_packet_comes_again_byte_for_byte() {
    let mut scene = Scene::new();
    let mut peer = srtp::Sender::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap();
    scene.frame(true, &[20, 1000, 1000, 300]);
    scene.join();
    let sent = scene.wire.rtp();
    let lost = [sequence(&sent[1]), sequence(&sent[3]), 5];
    scene.nack(&mut peer, &lost);
    assert_eq!(scene.wire.rtp(), [sent[1].clone(), sent[3].clone()]);
}

#[test]
fn a_forged_nack_is_not_answered() {
    let mut scene = Scene::new();
    let mut stranger = srtp::Sender::new(Profile::AeadAes128Gcm, &[9; 16], &SALT).unwrap();
    scene.frame(true, &[20, 1000]);
    scene.join();
    let sent = scene.wire.rtp();
    scene.nack(&mut stranger, &[sequence(&sent[1])]);
    assert!(scene.wire.rtp().is_empty());
}

#[test]
fn an_ice_restart_moves_media_without_a_gap_in_its_numbers() {
    let mut scene = Scene::new();
    let mut peer = srtp::Sender::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap();
    let elsewhere: TransportAddress = SocketAddr::from(([198, 51, 100, 7], 6000)).into();
    let check = |nominate| binding_request("next:them", ANOTHER_PASSWORD, nominate);
    scene.frame(true, &[30, 900]);
    scene.join();
    let mut sent: Vec<_> = scene.wire.rtp();
    let mut places = Vec::new();
    let mut frame = |scene: &mut Scene| {
        scene.frame(false, &[500]);
        places.extend(scene.wire.sent.iter().map(|(to, ..)| *to));
        sent.extend(scene.wire.rtp());
    };

    scene
        .hub
        .restart_ice(VIEWER, &again("next"), &mut scene.wire);
    frame(&mut scene);
    // Checks of both ICE sessions are answered while nothing is nominated in the new one.
    scene.stun(viewer_address(), own_check(true));
    scene.stun(elsewhere, check(false));
    frame(&mut scene);
    scene.stun(elsewhere, check(true));
    frame(&mut scene);
    assert_eq!(places, [viewer_address(), viewer_address(), elsewhere]);
    let numbers: Vec<u16> = sent.iter().map(|p| sequence(p)).collect();
    assert!(
        numbers.windows(2).all(|w| w[1] == w[0].wrapping_add(1)),
        "{numbers:?}"
    );

    // The keys are those from before: what was sent over the old pair is resent over the new one.
    scene.nack_from(elsewhere, &mut peer, &numbers[..1]);
    assert_eq!(scene.wire.sent[0].0, elsewhere);
    assert_eq!(scene.wire.rtp(), sent[..1]);
    // The old pair and its credentials mean nothing any more.
    let rejected = scene.hub.rejected();
    scene.nack(&mut peer, &numbers[..1]);
    let mut late = own_check(true);
    scene
        .hub
        .datagram(viewer_address(), &mut late, scene.now, &mut scene.wire);
    assert!(scene.wire.sent.is_empty());
    assert_eq!(scene.hub.rejected(), rejected + 2);
}

#[test]
fn a_restart_that_comes_to_nothing_changes_nothing() {
    let mut scene = Scene::new();
    scene.frame(true, &[30, 900]);
    scene.join();
    scene
        .hub
        .restart_ice(VIEWER, &again("next"), &mut scene.wire);
    for _ in 0..12 {
        scene.pass(Duration::from_secs(5));
        scene.stun(viewer_address(), own_check(false));
    }
    scene.frame(false, &[500]);
    assert_eq!(scene.wire.sent[0].0, viewer_address());
    // Consent runs out as without a restart (RFC 7675, 5.1).
    scene.pass(Duration::from_secs(31));
    assert_eq!(scene.hub.events().count(), 1);
    scene
        .hub
        .restart_ice(VIEWER, &again("more"), &mut scene.wire);
}

#[derive(Debug, Clone)]
enum Step {
    Frame { key: bool, sizes: Vec<usize> },
    Nack(Vec<u16>),
    Pass(u64),
    Reconnect,
    RestartIce { nominated: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (proptest::bool::weighted(0.1), prop::collection::vec(1usize..1150, 1..60))
            .prop_map(|(key, sizes)| Step::Frame { key, sizes }),
        3 => prop::collection::vec(0u16..600, 1..20).prop_map(Step::Nack),
        2 => (0u64..400).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
        1 => any::<bool>().prop_map(|nominated| Step::RestartIce { nominated }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// One SRTP index seals one byte string, ever (RFC 7714, 9.1), whatever is resent, paced, skipped or reconnected.
    #[test]
    fn one_index_seals_one_byte_string(steps in prop::collection::vec(step(), 1..120), join_at in 0usize..20) {
        let mut scene = Scene::new();
        let mut peer = srtp::Sender::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap();
        let mut sealed: HashMap<u64, Vec<u8>> = HashMap::new();
        let mut newest = 0x7ffe_u64;
        for (i, step) in steps.into_iter().enumerate() {
            if i == join_at {
                scene.join();
            }
            match step {
                Step::Frame { key, sizes } => scene.frame(key, &sizes),
                Step::Nack(back) => {
                    let lost: Vec<u16> = back.iter().map(|b| (newest as u16).wrapping_sub(*b)).collect();
                    scene.nack(&mut peer, &lost);
                }
                Step::Pass(ms) => scene.pass(Duration::from_millis(ms)),
                Step::Reconnect => {
                    scene.clock -= 1_000_000;
                    scene.hub.rebase(STREAM);
                }
                Step::RestartIce { nominated } => {
                    let ufrag = format!("{i:04}");
                    scene.hub.restart_ice(VIEWER, &again(&ufrag), &mut scene.wire);
                    let username = format!("{ufrag}:them");
                    let mut request = binding_request(&username, ANOTHER_PASSWORD, nominated);
                    let from = SocketAddr::from(([192, 0, 2, 1], 6000 + i as u16)).into();
                    scene.hub.datagram(from, &mut request, scene.now, &mut scene.wire);
                }
            }
            for packet in scene.wire.rtp() {
                // New packets come in order, so the whole index is the one nearest to the newest.
                let ahead = sequence(&packet).wrapping_sub(newest as u16) as i16;
                let index = (newest as i64 + i64::from(ahead)) as u64;
                newest = newest.max(index);
                if let Some(before) = sealed.get(&index) {
                    prop_assert_eq!(before, &packet);
                } else {
                    prop_assert!(index >= newest, "a number below the newest is new");
                    sealed.insert(index, packet);
                }
            }
        }
    }
}
