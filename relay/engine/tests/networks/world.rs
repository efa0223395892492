//! A hub, a camera and viewers on a network that loses, delays and queues, in virtual time. Every datagram that leaves
//! the hub is checked: one SRTP index seals one byte string, and timestamps never run backwards.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use _engine::address::TransportAddress;
use _engine::event::Event;
use _engine::h264::Packetized;
use _engine::hub::{Hub, Keys, SourceFrame, Start, ViewerStats};
use _engine::ice::Ice;
use _engine::media::{Negotiated, Rtx};
use _engine::srtp::{self, Profile};
use _engine::transmit::Transmit;

use crate::common::binding_request;
use crate::receiver::{PLAYOUT, Receiver, Shown};

pub const STREAM: u64 = 1;
/// A smaller stream of the same camera, and where its frames' numbers begin.
pub const SUB: u64 = 2;
pub const SUB_FRAMES: u64 = 1_000_000;
const SUB_OFFSET: Duration = Duration::from_millis(17);
pub const KEY: [u8; 16] = [1; 16];
pub const SALT: [u8; 12] = [2; 12];
pub const HEADER: usize = 12 + 4 + 8;
const PASSWORD: &str = "a-password-of-24-letters";
const PAYLOAD: usize = 1100;
/// How often a viewer shows that he is there.
const CHECK_INTERVAL: Duration = Duration::from_millis(2500);

/// xorshift64*: the same losses in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64 / (1u64 << 53) as f64) < probability
    }
}

/// One direction of a viewer's path.
#[derive(Clone, Copy)]
pub struct Link {
    pub delay: Duration,
    /// Random loss, 0 to 1.
    pub loss: f64,
    /// Chance of a packet to be the first of so many lost.
    pub bursts: (f64, u32),
    /// Bits a second, and the bytes that wait before it at most.
    pub bottleneck: Option<(u64, usize)>,
}

impl Link {
    pub fn of_30_ms() -> Self {
        Self {
            delay: Duration::from_millis(30),
            loss: 0.0,
            bursts: (0.0, 0),
            bottleneck: None,
        }
    }
}

/// The way back: little goes there, so that it neither fills nor loses in bursts.
fn upward(link: Link) -> Link {
    Link {
        bursts: (0.0, 0),
        bottleneck: None,
        ..link
    }
}

struct Path {
    link: Link,
    losing: u32,
    free_at: Instant,
}

impl Path {
    /// When a datagram sent now arrives, if it does.
    fn carry(&mut self, len: usize, now: Instant, random: &mut Random) -> Option<Instant> {
        let (chance, length) = self.link.bursts;
        if self.losing == 0 && random.chance(chance) {
            self.losing = length;
        }
        if self.losing > 0 {
            self.losing -= 1;
            return None;
        }
        if random.chance(self.link.loss) {
            return None;
        }
        if let Some((rate, queue)) = self.link.bottleneck {
            let start = self.free_at.max(now);
            let waiting = (start - now).as_micros() as u64 * rate / 8_000_000;
            if waiting as usize > queue {
                return None;
            }
            self.free_at = start + Duration::from_micros(len as u64 * 8_000_000 / rate);
            return Some(self.free_at + self.link.delay);
        }
        Some(now + self.link.delay)
    }
}

/// 25 frames a second.
#[derive(Clone, Copy)]
pub struct Camera {
    /// Frames from key frame to key frame.
    pub gop: u64,
    /// Packets of a key frame, and of each other.
    pub key_packets: usize,
    pub packets: usize,
}

impl Camera {
    pub const INTERVAL: Duration = Duration::from_millis(40);

    /// About 2 Mbit/s, a key frame every two seconds.
    pub fn usual() -> Self {
        Self {
            gop: 50,
            key_packets: 55,
            packets: 8,
        }
    }

    fn frame(&self, number: u64) -> SourceFrame {
        let key = number.is_multiple_of(self.gop);
        let count = if key { self.key_packets } else { self.packets };
        let mut packets = Packetized::default();
        for index in 0..count {
            let len = if index + 1 == count {
                PAYLOAD / 2
            } else {
                PAYLOAD
            };
            packets.data.extend(payload(number, index, count, key, len));
            packets.ends.push(packets.data.len() as u32);
        }
        SourceFrame {
            bytes: packets.data.len() as u64,
            packets,
            timestamp: number as i64 * 3600,
            key,
        }
    }
}

/// What a packet of the camera says: its frame, place and kind, and bytes that follow from those.
pub fn payload(frame: u64, index: usize, count: usize, key: bool, len: usize) -> Vec<u8> {
    let mut payload = (frame as u32).to_be_bytes().to_vec();
    payload.extend_from_slice(&(index as u16).to_be_bytes());
    payload.extend_from_slice(&(count as u16).to_be_bytes());
    payload.push(key.into());
    payload.extend((payload.len()..len).map(|i| (frame as usize * 31 + index * 7 + i) as u8));
    payload
}

/// What the hub sends, as the kernel would cut it.
#[derive(Default)]
struct Wire(Vec<(TransportAddress, usize, Vec<u8>)>);

impl Transmit for Wire {
    fn message(&mut self, to: TransportAddress, segment: usize, len: usize) -> &mut [u8] {
        assert!(
            len <= 62_000 && len.div_ceil(segment) <= 48,
            "beyond one GSO send"
        );
        self.0.push((to, segment, vec![0; len]));
        &mut self.0.last_mut().unwrap().2
    }
}

/// Per viewer and source: what each index sealed, and the newest index with its timestamp.
#[derive(Default)]
struct Sealed {
    packets: HashMap<u64, Vec<u8>>,
    newest: Option<(u64, u32)>,
}

impl Sealed {
    fn check(&mut self, packet: &[u8], rtx: bool) {
        let seq = u16::from_be_bytes([packet[2], packet[3]]);
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let (newest, before) = self.newest.unwrap_or((u64::from(seq), timestamp));
        let ahead = i64::from(seq.wrapping_sub(newest as u16) as i16);
        let index = (newest as i64 + ahead) as u64;
        if let Some(earlier) = self.packets.get(&index) {
            assert_eq!(earlier, packet, "index {index} seals another byte string");
            assert!(!rtx, "a retransmission is never sent again");
            return;
        }
        if self.newest.is_some() {
            assert_eq!(index, newest + 1, "numbers are consecutive");
            let forward = timestamp.wrapping_sub(before) as i32;
            assert!(rtx || forward >= 0, "timestamps ran backwards by {forward}");
        }
        self.newest = Some((index, timestamp));
        self.packets.insert(index, packet.to_vec());
    }
}

/// A viewer: his receiver and his path.
pub struct End {
    pub address: TransportAddress,
    pub receiver: Receiver,
    down: Path,
    up: Path,
    random: Random,
    /// All that the hub sent him, and when: before the network had it.
    pub sent: Vec<(Instant, Vec<u8>)>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Instant,
    order: u64,
    viewer: usize,
    to_hub: bool,
    datagram: Vec<u8>,
}

pub struct World {
    pub hub: Hub,
    pub now: Instant,
    pub started: Instant,
    pub camera: Option<Camera>,
    pub frames: u64,
    next_frame: Instant,
    pub sub: Option<Camera>,
    sub_frames: u64,
    next_sub: Instant,
    next_check: Instant,
    pub ends: Vec<End>,
    sealed: HashMap<(TransportAddress, u32), Sealed>,
    under_way: BinaryHeap<Reverse<Arrival>>,
    order: u64,
}

impl World {
    pub fn new(camera: Camera) -> Self {
        let now = Instant::now();
        let mut hub = Hub::new(now, 1 << 40);
        hub.open_stream(STREAM);
        Self {
            hub,
            now,
            started: now,
            camera: Some(camera),
            frames: 0,
            next_frame: now,
            sub: None,
            sub_frames: SUB_FRAMES,
            next_sub: now + SUB_OFFSET,
            next_check: now,
            ends: Vec::new(),
            sealed: HashMap::new(),
            under_way: BinaryHeap::new(),
            order: 0,
        }
    }

    /// The camera has a sub, of which frames come from now on.
    pub fn with_sub(mut self, camera: Camera) -> Self {
        self.hub.open_stream(SUB);
        self.sub = Some(camera);
        self
    }

    pub fn close(&mut self, stream: u64) {
        let mut wire = Wire::default();
        self.hub.close_stream(stream, self.now, &mut wire);
        self.sub = self.sub.filter(|_| stream != SUB);
        self.dispatch(wire);
    }

    pub fn switch(&mut self, viewer: usize, stream: u64) {
        self.hub.switch(viewer as u64 + 10, stream);
    }

    /// Viewers who went over since this was last asked, and to which stream.
    pub fn switched(&mut self) -> Vec<(usize, u64)> {
        let events = self.hub.events();
        events
            .filter_map(|event| match event {
                Event::Switched { viewer, stream } => Some((viewer as usize - 10, stream)),
                _ => None,
            })
            .collect()
    }

    /// A viewer joins over this path, both ways alike but for the bottleneck. Returns his place in `ends`.
    pub fn join(&mut self, link: Link, rtx: bool) -> usize {
        let number = self.ends.len();
        let address: TransportAddress =
            SocketAddr::from(([192, 0, 2, 1], 5000 + number as u16)).into();
        let ufrag = ufrag(number);
        let ssrc = 0x1000_0000 + number as u32;
        let rtx = rtx.then_some(Rtx {
            payload_type: 97,
            ssrc: ssrc + 0x1000_0000,
        });
        let negotiated = Negotiated {
            payload_type: 96,
            ssrc,
            cname: "pancar".into(),
            mid: Some((1, "0".into())),
            playout_delay: Some(2),
            rtx,
        };
        let path = |link| Path {
            link,
            losing: 0,
            free_at: self.now,
        };
        self.ends.push(End {
            address,
            receiver: Receiver::new(ssrc, rtx.map(|rtx| rtx.ssrc), self.now),
            down: path(link),
            up: path(upward(link)),
            random: Random::new(number as u64 + 7),
            sent: Vec::new(),
        });
        let id = number as u64 + 10;
        let ice = Ice::new(&ufrag, PASSWORD, "them", self.now);
        self.hub.add_viewer(id, STREAM, ice, negotiated, self.now);
        let mut wire = Wire::default();
        self.hub
            .datagram(address, &mut check(&ufrag), self.now, &mut wire);
        let keys = || (KEY.to_vec(), SALT.to_vec());
        let start = Start {
            keys: Keys {
                profile: Profile::AeadAes128Gcm,
                send: keys(),
                receive: keys(),
            },
            last_flight: vec![22],
            close_notify: vec![21],
            random: (0x7ff0 + number as u16, 77),
        };
        self.hub
            .start_media(id, start, self.now, &mut wire)
            .unwrap();
        self.dispatch(wire);
        number
    }

    pub fn relink(&mut self, viewer: usize, link: Link) {
        let end = &mut self.ends[viewer];
        end.down.link = link;
        end.up.link = upward(link);
        end.down.free_at = self.now;
    }

    /// The viewer sends feedback of his own accord (RFC 4585, 6.1).
    pub fn ask(&mut self, viewer: usize, packet_type: u8, format: u8, body: &[u8]) {
        let packet = self.ends[viewer]
            .receiver
            .sealed_feedback(packet_type, format, body);
        self.send(viewer, true, packet);
    }

    pub fn stats(&self, viewer: usize) -> ViewerStats {
        let id = viewer as u64 + 10;
        self.hub
            .viewer_stats()
            .into_iter()
            .find(|v| v.viewer == id)
            .unwrap()
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let receivers = self.ends.iter().map(|e| e.receiver.due());
            let arrival = self.under_way.peek().map(|Reverse(arrival)| arrival.at);
            let frame = self.camera.map(|_| self.next_frame);
            let due = receivers
                .chain(arrival)
                .chain(frame)
                .chain(self.sub.map(|_| self.next_sub))
                .chain([self.hub.deadline(), self.next_check]);
            let Some(due) = due.min().filter(|due| *due <= end) else {
                break;
            };
            self.now = self.now.max(due);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let mut wire = Wire::default();
        self.hub.timeout(self.now, &mut wire);
        if let Some(camera) = self.camera.filter(|_| self.next_frame <= self.now) {
            self.hub
                .frame(STREAM, camera.frame(self.frames), self.now, &mut wire);
            self.frames += 1;
            self.next_frame += Camera::INTERVAL;
        }
        if let Some(camera) = self.sub.filter(|_| self.next_sub <= self.now) {
            let frame = camera.frame(self.sub_frames);
            self.hub.frame(SUB, frame, self.now, &mut wire);
            self.sub_frames += 1;
            self.next_sub += Camera::INTERVAL;
        }
        if self.next_check <= self.now {
            self.next_check += CHECK_INTERVAL;
            for viewer in 0..self.ends.len() {
                self.send(viewer, true, check(&ufrag(viewer)));
            }
        }
        while let Some(Reverse(arrival)) = self.under_way.peek() {
            if arrival.at > self.now {
                break;
            }
            let Some(Reverse(mut arrival)) = self.under_way.pop() else {
                break;
            };
            let end = &mut self.ends[arrival.viewer];
            if arrival.to_hub {
                self.hub
                    .datagram(end.address, &mut arrival.datagram, self.now, &mut wire);
            } else {
                end.receiver.datagram(&arrival.datagram, self.now);
            }
        }
        self.dispatch(wire);
        for viewer in 0..self.ends.len() {
            let feedback = self.ends[viewer].receiver.feedback(self.now);
            for datagram in feedback {
                self.send(viewer, true, datagram);
            }
        }
    }

    fn dispatch(&mut self, wire: Wire) {
        for (to, segment, message) in wire.0 {
            let Some(viewer) = self.ends.iter().position(|end| end.address == to) else {
                continue;
            };
            for datagram in message.chunks(segment) {
                if datagram[0] >> 6 == 2 && !(192..224).contains(&datagram[1]) {
                    let ssrc =
                        u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
                    let rtx = datagram[1] & 0x7f == 97;
                    self.sealed
                        .entry((to, ssrc))
                        .or_default()
                        .check(datagram, rtx);
                    self.ends[viewer].sent.push((self.now, datagram.to_vec()));
                }
                self.send(viewer, false, datagram.to_vec());
            }
        }
    }

    fn send(&mut self, viewer: usize, to_hub: bool, datagram: Vec<u8>) {
        let end = &mut self.ends[viewer];
        let path = if to_hub { &mut end.up } else { &mut end.down };
        if let Some(at) = path.carry(datagram.len(), self.now, &mut end.random) {
            self.order += 1;
            let order = self.order;
            self.under_way.push(Reverse(Arrival {
                at,
                order,
                viewer,
                to_hub,
                datagram,
            }));
        }
    }
}

fn ufrag(viewer: usize) -> String {
    format!("u{viewer:03}")
}

/// A nominating Binding request of the viewer's; `ufrag` is the hub's end's.
fn check(ufrag: &str) -> Vec<u8> {
    binding_request(&format!("{ufrag}:them"), PASSWORD, true)
}

/// Opens a sealed RTP packet whose rollover counter is known: GCM's keystream does not depend on what it is laid over,
/// so that sealing zeros gives it; sealing what was found gives the tag.
pub fn open(packet: &[u8], roc: u32) -> Vec<u8> {
    static SENDER: OnceLock<srtp::Sender> = OnceLock::new();
    let sender =
        SENDER.get_or_init(|| srtp::Sender::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap());
    let end = packet.len() - 16;
    let mut sealed = packet.to_vec();
    sealed[HEADER..].fill(0);
    sender.seal_rtp(&mut sealed, HEADER, roc);
    let payload: Vec<u8> = (HEADER..end).map(|i| sealed[i] ^ packet[i]).collect();
    sealed[HEADER..end].copy_from_slice(&payload);
    sender.seal_rtp(&mut sealed, HEADER, roc);
    assert_eq!(sealed, packet, "not authentic");
    payload
}

/// What a viewer saw, from when on.
pub struct Seen {
    pub frames: usize,
    pub longest_gap: Duration,
    /// Part of the time in gaps that a person would call a freeze.
    pub frozen: f64,
    pub oldest: Duration,
}

impl World {
    /// As a receiver shows it that holds pictures back by [`PLAYOUT`], as browsers do for jitter.
    pub fn seen(&self, viewer: usize, from: Instant) -> Seen {
        let taken = |s: &Shown| self.started + Camera::INTERVAL * s.frame;
        let mut newest = from;
        let mut times = vec![from];
        let mut seen = Vec::new();
        for frame in &self.ends[viewer].receiver.shown {
            newest = newest.max(frame.at.max(taken(frame) + PLAYOUT));
            if newest > from && newest <= self.now {
                times.push(newest);
                seen.push(frame);
            }
        }
        times.push(self.now);
        let gaps = times.windows(2).map(|w| w[1] - w[0]);
        let frozen: Duration = gaps
            .clone()
            .filter(|gap| *gap > Duration::from_millis(190))
            .map(|gap| gap - Camera::INTERVAL)
            .sum();
        Seen {
            frames: seen.len(),
            longest_gap: gaps.max().unwrap_or_default(),
            frozen: frozen.as_secs_f64() / (self.now - from).as_secs_f64(),
            oldest: seen
                .iter()
                .map(|s| s.at - taken(s))
                .max()
                .unwrap_or_default(),
        }
    }
}
