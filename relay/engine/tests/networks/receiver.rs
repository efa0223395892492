//! A viewer's receiver, as browsers do it: asks for what is missing, shows a frame once it is whole and the one before
//! was shown, or begins anew at a key frame, and reports once a second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use _engine::rtcp;
use _engine::srtp::{self, Profile};

use crate::world::{KEY, SALT, open, payload};

const NACK_RETRY: Duration = Duration::from_millis(100);
const NACK_TRIES: u32 = 10;
const MAX_MISSING: usize = 450;
const TICK: Duration = Duration::from_millis(10);
/// How long pictures are held back for what is missing.
pub const PLAYOUT: Duration = Duration::from_millis(300);
const HUNGER: Duration = Duration::from_millis(200);
const PLI_INTERVAL: Duration = Duration::from_millis(500);

struct Packet {
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

pub struct Shown {
    pub at: Instant,
    pub frame: u32,
}

/// Per report interval.
#[derive(Default)]
struct Counted {
    received: u64,
    highest: u64,
}

pub struct Receiver {
    pub ssrc: u32,
    rtx: Option<u32>,
    rtcp_in: srtp::Receiver,
    rtcp_out: srtp::Sender,
    newest: Option<u64>,
    rtx_newest: Option<u64>,
    packets: BTreeMap<u64, Packet>,
    /// When to ask next, and how often was asked.
    missing: BTreeMap<u64, (Instant, u32)>,
    /// Where the next frame begins; None: at a key frame.
    cursor: Option<u64>,
    /// The newest packet that was shown.
    behind: u64,
    asked_picture: Option<Instant>,
    hungry_since: Option<Instant>,
    first: Option<u64>,
    counted: Counted,
    before: Counted,
    sender_report: Option<(u32, Instant)>,
    next_tick: Instant,
    next_report: Instant,
    pub shown: Vec<Shown>,
    pub plis: u32,
    /// Whether he reports and asks at all.
    pub deaf: bool,
}

impl Receiver {
    pub fn new(ssrc: u32, rtx: Option<u32>, now: Instant) -> Self {
        Self {
            ssrc,
            rtx,
            rtcp_in: srtp::Receiver::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap(),
            rtcp_out: srtp::Sender::new(Profile::AeadAes128Gcm, &KEY, &SALT).unwrap(),
            newest: None,
            rtx_newest: None,
            packets: BTreeMap::new(),
            missing: BTreeMap::new(),
            cursor: None,
            behind: 0,
            asked_picture: None,
            hungry_since: None,
            first: None,
            counted: Counted::default(),
            before: Counted::default(),
            sender_report: None,
            next_tick: now + TICK,
            next_report: now + Duration::from_secs(1),
            shown: Vec::new(),
            plis: 0,
            deaf: false,
        }
    }

    pub fn due(&self) -> Instant {
        self.next_tick
    }

    pub fn datagram(&mut self, datagram: &[u8], now: Instant) {
        if datagram[0] >> 6 != 2 {
            return;
        }
        if (192..224).contains(&datagram[1]) {
            return self.rtcp(datagram, now);
        }
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
        let seq = u16::from_be_bytes([datagram[2], datagram[3]]);
        let (timestamp, ssrc) = (word(4), word(8));
        let packet = |payload: &[u8]| Packet {
            timestamp,
            marker: datagram[1] & 0x80 != 0,
            payload: payload.to_vec(),
        };
        if Some(ssrc) == self.rtx {
            let index = extend(seq, &mut self.rtx_newest);
            let payload = open(datagram, (index >> 16) as u32);
            let osn = u16::from_be_bytes([payload[0], payload[1]]);
            let index = extend(osn, &mut self.newest.clone());
            self.take(index, packet(&payload[2..]), now);
        } else {
            assert_eq!(ssrc, self.ssrc);
            let before = self.newest;
            let index = extend(seq, &mut self.newest);
            self.first.get_or_insert(index);
            let payload = open(datagram, (index >> 16) as u32);
            self.counted.received += 1;
            for missing in before.map_or(index, |before| before + 1)..index {
                self.missing.insert(missing, (now + TICK, 0));
            }
            self.take(index, packet(&payload), now);
        }
    }

    fn take(&mut self, index: u64, packet: Packet, now: Instant) {
        self.missing.remove(&index);
        if self.packets.is_empty() && self.shown.is_empty() {
            self.behind = self.behind.max(index.saturating_sub(1));
        }
        if index > self.behind || self.shown.is_empty() {
            self.packets.insert(index, packet);
        }
        while self.show(now) {}
    }

    /// Shows the next frame, or a key frame beyond a gap.
    fn show(&mut self, now: Instant) -> bool {
        let next = self.cursor.and_then(|first| self.whole_frame(first));
        let held = self
            .shown
            .last()
            .is_some_and(|last| now - last.at < PLAYOUT);
        let waits = self.cursor.is_some() && held;
        let frame = next.or_else(|| {
            if waits {
                return None;
            }
            let begins = |packet: &Packet| packet.payload[8] == 1 && packet.payload[4..6] == [0, 0];
            let keys = self.packets.iter().filter(|(_, packet)| begins(packet));
            keys.map(|(index, _)| *index)
                .filter_map(|first| self.whole_frame(first))
                .next_back()
        });
        let Some((first, last)) = frame else {
            return false;
        };
        for (i, index) in (first..=last).enumerate() {
            let packet = &self.packets[&index];
            let (count, len) = ((last - first + 1) as usize, packet.payload.len());
            let number = u32::from_be_bytes(packet.payload[..4].try_into().unwrap());
            let key = packet.payload[8] == 1;
            assert_eq!(
                packet.payload,
                payload(number.into(), i, count, key, len),
                "damaged"
            );
            if i == 0 {
                self.shown.push(Shown {
                    at: now,
                    frame: number,
                });
            }
        }
        self.packets = self.packets.split_off(&(last + 1));
        self.missing = self.missing.split_off(&(last + 1));
        self.behind = last;
        self.cursor = Some(last + 1);
        true
    }

    /// First and last packet of the frame that begins with a packet, if all are there.
    fn whole_frame(&self, first: u64) -> Option<(u64, u64)> {
        let head = self.packets.get(&first)?;
        if head.payload[4..6] != [0, 0] {
            return None;
        }
        let mut last = first;
        loop {
            let packet = self
                .packets
                .get(&last)
                .filter(|p| p.timestamp == head.timestamp)?;
            if packet.marker {
                return Some((first, last));
            }
            last += 1;
        }
    }

    fn rtcp(&mut self, datagram: &[u8], now: Instant) {
        let mut datagram = datagram.to_vec();
        let opened = self.rtcp_in.open_rtcp(&mut datagram).expect("authentic");
        for packet in rtcp::parse(opened) {
            if let rtcp::Packet::SenderReport { ntp, .. } = packet {
                self.sender_report = Some(((ntp >> 16) as u32, now));
            }
        }
    }

    /// What he sends now.
    pub fn feedback(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if now < self.next_tick || self.deaf {
            self.next_tick = self.next_tick.max(now + Duration::from_millis(1));
            return out;
        }
        self.next_tick = now + TICK;
        let given_up = self.missing.values().any(|(_, tries)| *tries >= NACK_TRIES);
        if given_up || self.missing.len() > MAX_MISSING {
            self.missing.clear();
            self.cursor = None;
        }
        let due: Vec<u64> = self
            .missing
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(i, _)| *i)
            .collect();
        if !due.is_empty() {
            let mut words = Vec::new();
            for index in due {
                words.extend_from_slice(&[(index >> 8) as u8, index as u8, 0, 0]);
                self.missing.entry(index).and_modify(|(at, tries)| {
                    *at = now + NACK_RETRY;
                    *tries += 1;
                });
            }
            out.push(self.feedback_packet(205, 1, &words));
        }
        let starved = self.starved(now);
        if starved && self.asked_picture.is_none_or(|at| now - at >= PLI_INTERVAL) {
            self.asked_picture = Some(now);
            self.plis += 1;
            out.push(self.feedback_packet(206, 1, &[]));
        }
        if now >= self.next_report || !out.is_empty() {
            // As browsers do, who put one before each NACK.
            let report = self.report(now);
            match (report, out.first_mut()) {
                (Some(mut report), Some(first)) => {
                    report.append(first);
                    *first = report;
                }
                (Some(report), None) => out.push(report),
                _ => {}
            }
        }
        out.iter_mut()
            .for_each(|packet| self.rtcp_out.seal_rtcp(packet).unwrap());
        out
    }

    /// No key frame to begin with came for a while.
    fn starved(&mut self, now: Instant) -> bool {
        if self.cursor.is_some() || self.newest.is_none() {
            self.hungry_since = None;
            return false;
        }
        now - *self.hungry_since.get_or_insert(now) >= HUNGER
    }

    pub fn sealed_feedback(&mut self, packet_type: u8, format: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = self.feedback_packet(packet_type, format, body);
        self.rtcp_out.seal_rtcp(&mut packet).unwrap();
        packet
    }

    fn feedback_packet(&self, packet_type: u8, format: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80 | format, packet_type];
        packet.extend_from_slice(&((2 + body.len() / 4) as u16).to_be_bytes());
        packet.extend_from_slice(&9u32.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(body);
        packet
    }

    fn report(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.next_report = now + Duration::from_secs(1);
        self.counted.highest = self.newest?;
        let first = self.first?;
        let all = self.counted.highest + 1 - first;
        let sum = (all as i64 - self.counted.received as i64).clamp(-0x80_0000, 0x7f_ffff);
        let expected = self.counted.highest - self.before.highest.min(self.counted.highest);
        let received = self.counted.received - self.before.received;
        let lost = (expected.saturating_sub(received) * 256)
            .checked_div(expected)
            .unwrap_or(0);
        let (last_sr, since) = self.sender_report.map_or((0, 0), |(ntp, at)| {
            (ntp, (now - at).as_micros() as u64 * 65536 / 1_000_000)
        });
        self.before = Counted { ..self.counted };
        let words = [
            9,
            self.ssrc,
            (lost.min(255) as u32) << 24 | (sum as u32 & 0xff_ffff),
            self.counted.highest as u32,
            0,
            last_sr,
            since as u32,
        ];
        let mut packet = vec![0x81, 201, 0, 7];
        packet.extend(words.iter().flat_map(|word: &u32| word.to_be_bytes()));
        Some(packet)
    }
}

/// The whole number of 16 bits, by the newest of their source (RFC 3711, 3.3.1).
fn extend(seq: u16, newest: &mut Option<u64>) -> u64 {
    let before = newest.unwrap_or(u64::from(seq));
    let index = (before as i64 + i64::from(seq.wrapping_sub(before as u16) as i16)) as u64;
    *newest = Some(before.max(index));
    index
}
