//! A viewer's media once its keys are there: RTP headers, sealing, the start burst, retransmission, reports.
//!
//! Pure; the hub calls it with the stream it watches and writes what it makes into a [`Transmit`]. Every packet is a
//! function of (viewer, packet number) alone, header extensions included, so that a resent one is byte-identical.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::numbering::Numbering;
use crate::pacer::Pacer;
use crate::rtcp;
use crate::srtp;
use crate::stream::{CLOCK_RATE, Frame, Start, Stream};
use crate::transmit::{MAX_MESSAGE, MAX_SEGMENTS, Transmit};

const FIXED_HEADER: usize = 12;
/// Header with the longest extension we write: 4 bytes of frame, MID of [`MAX_MID`] with its byte, playout-delay.
pub const MAX_HEADER: usize = FIXED_HEADER + 4 + 1 + MAX_MID + 4 + 3;
pub const MAX_MID: usize = 8;
/// The largest RTP payload: sealed packets stay within 1,200 bytes, which every path takes.
pub const MAX_PAYLOAD: usize = 1200 - MAX_HEADER - 16;

const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// Milliseconds within which a browser may hold back pictures to smooth jitter once it is at the live edge.
const SMOOTHING_MS: u32 = 400;
/// Packets that one viewer may have resent at once, and per second.
const RESEND_BURST: f64 = 512.0;
const RESEND_RATE: f64 = 2_000.0;

/// What negotiation fixed for a viewer.
pub struct Negotiated {
    pub payload_type: u8,
    pub ssrc: u32,
    pub cname: String,
    /// Header extension id and value of MID (RFC 9143).
    pub mid: Option<(u8, String)>,
    /// Header extension id of playout-delay.
    pub playout_delay: Option<u8>,
}

#[derive(Default, Clone, Copy)]
pub struct Counters {
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_resent: u64,
    pub nacks: u64,
    pub fraction_lost: f64,
    pub round_trip: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Waits for an IDR.
    AwaitKey,
    /// Catches up from the cache; up to the given packet, then awaits the next IDR, or up to the live edge.
    Burst {
        still_until: Option<u64>,
    },
    Live,
}

pub struct Media {
    sender: srtp::Sender,
    receiver: srtp::Receiver,
    ssrc: u32,
    cname: Box<str>,
    /// RTP header with sequence number and timestamp blank.
    header: Box<[u8]>,
    /// Where the three bytes of playout-delay lie in `header`.
    delay_at: Option<usize>,
    timestamp_offset: u32,
    numbering: Numbering,
    phase: Phase,
    /// Packets before this one carry playout-delay 0/0. Moves once, to a packet that is not sent yet.
    live_from: u64,
    pacer: Pacer,
    resend_tokens: f64,
    resend_at: Instant,
    next_report: Instant,
    octets: u32,
    pub counters: Counters,
}

impl Media {
    /// `random`: initial sequence number and timestamp offset.
    pub fn new(
        negotiated: &Negotiated,
        sender: srtp::Sender,
        receiver: srtp::Receiver,
        random: (u16, u32),
        stream: &Stream,
        now: Instant,
    ) -> Self {
        let (phase, first) = match stream.start() {
            Start::Gop(first) => (Phase::Burst { still_until: None }, first),
            Start::Still(first, end) => (
                Phase::Burst {
                    still_until: Some(end),
                },
                first,
            ),
            Start::Nothing => (Phase::AwaitKey, stream.next()),
        };
        let (header, delay_at) = header(negotiated);
        Self {
            sender,
            receiver,
            ssrc: negotiated.ssrc,
            cname: negotiated.cname.as_str().into(),
            header,
            delay_at,
            timestamp_offset: random.1,
            numbering: Numbering::new(random.0, first),
            phase,
            live_from: u64::MAX,
            pacer: Pacer::new(now),
            resend_tokens: RESEND_BURST,
            resend_at: now,
            next_report: now,
            octets: 0,
            counters: Counters::default(),
        }
    }

    pub fn bursting(&self) -> bool {
        matches!(self.phase, Phase::Burst { .. })
    }

    pub fn next_report(&self) -> Instant {
        self.next_report
    }

    /// The stream's newest frame, to a viewer at the live edge.
    pub fn frame<T: Transmit>(&mut self, frame: &Frame, to: SocketAddr, out: &mut T) {
        match self.phase {
            Phase::Live => {}
            Phase::AwaitKey if frame.key => self.go_live(frame.first),
            Phase::AwaitKey | Phase::Burst { .. } => return,
        }
        self.numbering.skip_to(frame.first);
        self.send(frame, frame.end(), to, out);
    }

    fn go_live(&mut self, from: u64) {
        self.phase = Phase::Live;
        self.live_from = self.live_from.min(from);
    }

    /// Goes on with the start burst as far as the pacer lets it.
    pub fn burst<T: Transmit>(
        &mut self,
        stream: &Stream,
        to: SocketAddr,
        now: Instant,
        out: &mut T,
    ) {
        while let Phase::Burst { still_until } = self.phase {
            let next = self.numbering.next_packet();
            if still_until.is_some_and(|end| next >= end) {
                self.phase = Phase::AwaitKey;
                return;
            }
            if next >= stream.next() {
                self.go_live(next);
                return;
            }
            let Some(frame) = stream.frame_of(next) else {
                // The cache moved on faster than the burst.
                self.phase = Phase::AwaitKey;
                return;
            };
            let allowance = self.pacer.allowance(now);
            if allowance <= 0 {
                return;
            }
            let packets = (allowance as u64).div_ceil(MAX_PAYLOAD as u64);
            self.send(frame, frame.end().min(next + packets), to, out);
        }
    }

    /// Sends the packets of `frame` from the next one up to `end`.
    fn send<T: Transmit>(&mut self, frame: &Frame, end: u64, to: SocketAddr, out: &mut T) {
        let extra = self.header.len() + self.sender.profile().rtp_overhead();
        while self.numbering.next_packet() < end {
            let run = frame.run(self.numbering.next_packet(), end, extra);
            let mut room = out.message(to, run.segment, run.len);
            while !room.is_empty() {
                let (chunk, rest) = room.split_at_mut(run.segment.min(room.len()));
                let number = self.numbering.next_packet();
                let seq = self.numbering.take();
                self.write(frame, number, seq, chunk);
                room = rest;
            }
            self.pacer.spend(run.len);
            self.counters.packets_sent += run.packets;
            self.counters.bytes_sent += run.len as u64;
            self.octets = self
                .octets
                .wrapping_add((run.len - run.packets as usize * extra) as u32);
        }
    }

    /// Writes and seals one packet into `chunk`, which has exactly its sealed size.
    fn write(&self, frame: &Frame, number: u64, seq: u64, chunk: &mut [u8]) {
        let Some(packet) = frame.packet(number) else {
            return;
        };
        let header_len = self.header.len();
        let timestamp = (packet.timestamp as u32).wrapping_add(self.timestamp_offset);
        let (header, body) = chunk.split_at_mut(header_len);
        header.copy_from_slice(&self.header);
        header[1] |= u8::from(packet.marker) << 7;
        header[2..4].copy_from_slice(&(seq as u16).to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        if let Some(at) = self.delay_at.filter(|_| number >= self.live_from) {
            header[at..at + 3].copy_from_slice(&playout_delay(0, SMOOTHING_MS));
        }
        body[..packet.payload.len()].copy_from_slice(packet.payload);
        self.sender.seal_rtp(chunk, header_len, (seq >> 16) as u32);
    }

    /// Answers NACKed sequence numbers (RFC 4585, 6.2.1) with the very packets that were lost.
    pub fn resend<T: Transmit>(
        &mut self,
        lost: impl Iterator<Item = u16>,
        stream: &Stream,
        to: SocketAddr,
        now: Instant,
        out: &mut T,
    ) {
        let elapsed = now.saturating_duration_since(self.resend_at).as_secs_f64();
        self.resend_at = now;
        self.resend_tokens = (self.resend_tokens + elapsed * RESEND_RATE).min(RESEND_BURST);
        self.counters.nacks += 1;
        for seq in lost {
            if self.resend_tokens < 1.0 {
                return;
            }
            let Some((number, whole)) = self.numbering.resolve(seq) else {
                continue;
            };
            let Some(frame) = stream.frame_of(number) else {
                continue;
            };
            let Some(packet) = frame.packet(number) else {
                continue;
            };
            let len =
                self.header.len() + packet.payload.len() + self.sender.profile().rtp_overhead();
            self.write(frame, number, whole, out.message(to, len, len));
            self.resend_tokens -= 1.0;
            self.counters.packets_resent += 1;
        }
    }

    /// A sealed sender report (RFC 3550, 6.4.1) that ties the RTP clock to the wall clock; None before the first packet.
    pub fn report(&mut self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        self.next_report = now + REPORT_INTERVAL;
        let mut packet = self.plain_report(stream, ntp, now)?;
        self.sender.seal_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    /// A sealed BYE, behind the report that a compound packet starts with (RFC 3550, 6.1).
    pub fn bye(&mut self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        let mut packet = self.plain_report(stream, ntp, now)?;
        rtcp::bye(self.ssrc, &mut packet);
        self.sender.seal_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    fn plain_report(&self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        let newest = stream.newest().filter(|_| self.counters.packets_sent > 0)?;
        let since = now.saturating_duration_since(newest.arrived).as_micros() as u64 * CLOCK_RATE
            / 1_000_000;
        let info = rtcp::SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp: ((newest.timestamp + since) as u32).wrapping_add(self.timestamp_offset),
            packets: self.counters.packets_sent as u32,
            octets: self.octets,
        };
        let mut packet = Vec::with_capacity(128);
        rtcp::sender_report(&info, &self.cname, &mut packet);
        Some(packet)
    }

    /// Takes the receiver's view of the path from its report block on us; `ntp` is the middle 32 bits of now.
    pub fn reported(&mut self, block: &rtcp::ReportBlock, ntp_middle: u32) {
        self.counters.fraction_lost = f64::from(block.fraction_lost) / 256.0;
        if block.last_sr != 0 {
            // RFC 3550, 6.4.1: A - LSR - DLSR, in 1/65536 s.
            let round_trip = ntp_middle
                .wrapping_sub(block.last_sr)
                .wrapping_sub(block.delay_since_last_sr);
            if round_trip < 60 << 16 {
                self.counters.round_trip = Some(Duration::from_micros(
                    u64::from(round_trip) * 1_000_000 / 65536,
                ));
            }
        }
    }

    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], srtp::OpenError> {
        self.receiver.open_rtcp(packet)
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }
}

/// Consecutive packets of equal size, the last possibly shorter: one UDP_SEGMENT send.
struct Run {
    segment: usize,
    len: usize,
    packets: u64,
}

impl Frame {
    fn run(&self, first: u64, end: u64, extra: usize) -> Run {
        let size = |number: u64| self.packet(number).map_or(0, |p| p.payload.len() + extra);
        let segment = size(first);
        let mut run = Run {
            segment,
            len: segment,
            packets: 1,
        };
        while first + run.packets < end && (run.packets as usize) < MAX_SEGMENTS {
            let next = size(first + run.packets);
            if next > segment || run.len + next > MAX_MESSAGE {
                break;
            }
            run.len += next;
            run.packets += 1;
            if next < segment {
                break;
            }
        }
        run
    }
}

/// The playout-delay header extension: two fields of 12 bits, in units of 10 ms.
fn playout_delay(min_ms: u32, max_ms: u32) -> [u8; 3] {
    let (min, max) = (min_ms / 10, max_ms / 10);
    [
        (min >> 4) as u8,
        ((min & 0xf) << 4 | max >> 8) as u8,
        max as u8,
    ]
}

/// RTP fixed header and one-byte extensions (RFC 8285, 4.2), and where playout-delay's value lies.
fn header(negotiated: &Negotiated) -> (Box<[u8]>, Option<usize>) {
    let mut header = vec![0u8; FIXED_HEADER];
    header[0] = 0x80;
    header[1] = negotiated.payload_type & 0x7f;
    header[8..12].copy_from_slice(&negotiated.ssrc.to_be_bytes());
    let mut delay_at = None;
    let mut elements = Vec::new();
    if let Some(id) = negotiated.playout_delay {
        elements.push(id << 4 | 2);
        delay_at = Some(FIXED_HEADER + 4 + elements.len());
        elements.extend_from_slice(&playout_delay(0, 0));
    }
    if let Some((id, mid)) = negotiated
        .mid
        .as_ref()
        .filter(|(_, mid)| (1..=MAX_MID).contains(&mid.len()))
    {
        elements.push(id << 4 | (mid.len() - 1) as u8);
        elements.extend_from_slice(mid.as_bytes());
    }
    if !elements.is_empty() {
        elements.resize(elements.len().next_multiple_of(4), 0);
        header[0] |= 0x10;
        header.extend_from_slice(&[0xbe, 0xde, 0, (elements.len() / 4) as u8]);
        header.extend_from_slice(&elements);
    }
    (header.into_boxed_slice(), delay_at)
}
