//! A viewer's media once its keys are there: what he is sent and when, sealing, retransmission, reports.
//!
//! Pure; the hub calls it with the stream it watches and writes what it makes into a [`Transmit`]. A viewer holds no
//! packets, only a place in the stream: who is behind has an older one. Every packet is a function of (viewer, sequence
//! number) alone, header extensions included, so that a resent one is byte-identical.

use std::time::{Duration, Instant};

use crate::address::TransportAddress;
use crate::congestion::{Congestion, Sendings, Share};
use crate::counters::{Counters, Reason};
use crate::leg::Leg;
use crate::numbering::{Numbering, Stamp};
use crate::pacer::{self, Pacer};
use crate::pictures::Pictures;
use crate::repair::Repairs;
use crate::rtcp;
use crate::rtp::{MAX_PAYLOAD, Rtp};
use crate::srtp;
use crate::stream::{CLOCK_RATE, Frame, Start, Stream};
use crate::transmit::Transmit;

mod feedback;

use feedback::Heard;

const REPORT_INTERVAL: Duration = Duration::from_secs(2);
/// Who is behind for so long, with pictures of such an age, goes on from the next key frame.
const PATIENCE: Duration = Duration::from_millis(1500);
const LATE: Duration = Duration::from_millis(800);
/// Bytes in a connection that its peer has not taken: with more of them a viewer is behind.
const MAX_UNSENT: usize = 64 << 10;

/// What negotiation fixed for a viewer.
pub struct Negotiated {
    pub payload_type: u8,
    pub ssrc: u32,
    pub cname: String,
    /// Header extension id and value of MID (RFC 9143).
    pub mid: Option<(u8, String)>,
    /// Header extension id of playout-delay.
    pub playout_delay: Option<u8>,
    /// What retransmissions go out as; None: as the very packets that were lost.
    pub rtx: Option<Rtx>,
}

/// Payload type and source of a retransmission stream (RFC 4588, 8.1).
#[derive(Clone, Copy, Debug)]
pub struct Rtx {
    pub payload_type: u8,
    pub ssrc: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Waits for an IDR; where it fell out of the stream before, for a reason.
    AwaitKey(Option<Reason>),
    /// Is sent what waits as the pacer lets it, since then: up to the given packet, then awaits the next IDR, or up to
    /// the live edge.
    Behind {
        since: Instant,
        still_until: Option<u64>,
    },
    Live,
}

impl Phase {
    fn behind(since: Instant, still_until: Option<u64>) -> Self {
        Self::Behind { since, still_until }
    }
}

pub struct Media {
    rtp: Rtp,
    receiver: srtp::Receiver,
    ssrc: u32,
    cname: Box<str>,
    leg: Leg,
    /// The one before, for what of it is still to be resent.
    leg_before: Option<Box<Leg>>,
    phase: Phase,
    pacer: Pacer,
    congestion: Congestion,
    sendings: Sendings,
    heard: Heard,
    repairs: Repairs,
    pictures: Pictures,
    next_report: Instant,
    octets: u32,
    pub counters: Counters,
}

impl Media {
    /// `random`: initial sequence number and timestamp offset; `id` is the stream's.
    pub fn new(
        negotiated: &Negotiated,
        sender: srtp::Sender,
        receiver: srtp::Receiver,
        random: (u16, u32),
        (id, stream): (u64, &Stream),
        now: Instant,
    ) -> Self {
        let (phase, first) = match stream.start() {
            Start::Gop(first) => (Phase::behind(now, None), first),
            Start::Still(first, end) => (Phase::behind(now, Some(end)), first),
            Start::Nothing => (Phase::AwaitKey(None), stream.next()),
        };
        let numbering = Numbering::new(random.0, first);
        Self {
            rtp: Rtp::new(negotiated, sender),
            receiver,
            ssrc: negotiated.ssrc,
            cname: negotiated.cname.as_str().into(),
            heard: Heard {
                at: now,
                highest: numbering.next_seq().saturating_sub(1),
                lost: 0,
                lossy: None,
                resent: 0,
                packets: 0,
                bytes: 0,
            },
            leg: Leg::new(id, numbering, random.1),
            leg_before: None,
            phase,
            pacer: Pacer::new(now),
            congestion: Congestion::default(),
            sendings: Sendings::new(now),
            repairs: Repairs::new(now),
            pictures: Pictures::new(now),
            next_report: now,
            octets: 0,
            counters: Counters::default(),
        }
    }

    /// Whether something waits for him, and `catch_up` is to be called.
    pub fn behind(&self) -> bool {
        matches!(self.phase, Phase::Behind { .. })
    }

    /// How long after its last call `catch_up` has nothing to do.
    pub fn wait(&self) -> Duration {
        self.pacer.wait().max(pacer::TICK)
    }

    pub fn next_report(&self) -> Instant {
        self.next_report
    }

    pub fn share(&self) -> Share {
        self.congestion.share()
    }

    /// Bits a second at which what waits is sent.
    pub fn pace(&self) -> u64 {
        self.pacer.rate()
    }

    /// The stream's newest frame, which everybody at the live edge gets now, or as soon as his pace allows.
    pub fn frame<T: Transmit>(
        &mut self,
        stream: &Stream,
        to: TransportAddress,
        now: Instant,
        out: &mut T,
    ) {
        let Some(frame) = stream.newest() else { return };
        if self.behind() {
            return;
        }
        if frame.key {
            self.pictures.key_frame(now);
            self.leg.numbering.skip_to(frame.first);
        } else if !self.goes_on(stream, frame, now) {
            return;
        }
        self.leg.live_from(frame.first);
        let at_edge = self.leg.numbering.next_packet() == frame.first;
        if at_edge && self.granted(to, now, out) >= frame.byte_len() {
            self.phase = Phase::Live;
            self.send(frame, frame.end(), to, now, out);
        } else {
            self.phase = Phase::behind(now, None);
            self.catch_up(stream, to, now, out);
        }
    }

    /// Whether a viewer who is not behind is sent a frame that needs those before it.
    fn goes_on(&mut self, stream: &Stream, frame: &Frame, now: Instant) -> bool {
        let reason = match (self.phase, self.share()) {
            (Phase::AwaitKey(None), _) => return false,
            (_, Share::KeyFrames) => Reason::Thinned,
            (Phase::AwaitKey(Some(reason)), Share::Everything) => {
                if self.pictures.wanted() && self.send_gop_again(stream, frame, now) {
                    return true;
                }
                reason
            }
            (_, Share::Everything) => {
                if self.pictures.wanted() {
                    self.send_gop_again(stream, frame, now);
                }
                return true;
            }
        };
        self.counters.dropped.add(reason, 1);
        self.phase = Phase::AwaitKey(Some(reason));
        false
    }

    /// Goes on with what waits as far as the pacer lets it.
    pub fn catch_up<T: Transmit>(
        &mut self,
        stream: &Stream,
        to: TransportAddress,
        now: Instant,
        out: &mut T,
    ) {
        while let Phase::Behind { since, still_until } = self.phase {
            let next = self.leg.numbering.next_packet();
            if still_until.is_some_and(|end| next >= end) {
                self.phase = Phase::AwaitKey(None);
                return;
            }
            if next >= stream.next() {
                self.phase = Phase::Live;
                self.leg.live_from(next);
                return;
            }
            // None: the cache moved on faster than the viewer.
            let frame = stream.frame_of(next);
            match self.obstacle(frame, next, since, now) {
                Some(reason) => self.fall_out(stream, reason, now),
                None => {
                    let granted = self.granted(to, now, out);
                    let Some(frame) = frame.filter(|_| granted > 0) else {
                        return;
                    };
                    let packets = granted.div_ceil(MAX_PAYLOAD) as u64;
                    self.send(frame, frame.end().min(next + packets), to, now, out);
                }
            }
        }
    }

    /// Bytes that may go out now, by the viewer's pace and by what his connection has taken of those before.
    fn granted<T: Transmit>(&mut self, to: TransportAddress, now: Instant, out: &T) -> usize {
        match out.unsent(to) > MAX_UNSENT {
            true => 0,
            false => self.pacer.grant(now),
        }
    }

    /// His way is gone: he goes on from where he stands once there is another. Returns whether that is news.
    pub fn interrupt(&mut self, now: Instant) -> bool {
        let live = self.phase == Phase::Live;
        if live {
            self.phase = Phase::behind(now, None);
        }
        live
    }

    /// Why a frame is not to be sent any more; a frame once begun is sent as a whole.
    fn obstacle(
        &self,
        frame: Option<&Frame>,
        next: u64,
        since: Instant,
        now: Instant,
    ) -> Option<Reason> {
        let Some(frame) = frame else {
            return Some(Reason::Late);
        };
        if next != frame.first {
            return None;
        }
        if self.share() == Share::KeyFrames && !frame.key {
            return Some(Reason::Thinned);
        }
        let patient = now.saturating_duration_since(since) < PATIENCE
            || now.saturating_duration_since(frame.arrived) < LATE;
        (!patient).then_some(Reason::Late)
    }

    /// Leaves out what lies before the newest key frame, or the next.
    fn fall_out(&mut self, stream: &Stream, reason: Reason, now: Instant) {
        // Who never reports would never be given more again.
        let reports = self.heard.packets > 0;
        if reason == Reason::Late && reports && self.share() == Share::Everything {
            self.congestion.late(now);
        }
        let next = self.leg.numbering.next_packet();
        let (until, phase) = match stream.start() {
            Start::Gop(key) if key > next => {
                self.leg.numbering.skip_to(key);
                (key, Phase::behind(now, None))
            }
            _ => (stream.next(), Phase::AwaitKey(Some(reason))),
        };
        self.counters
            .dropped
            .add(reason, stream.frames_between(next, until));
        self.phase = phase;
    }

    /// Sends the GOP so far once more, before `frame`, the newest: under new sequence numbers, its timestamps after all
    /// that was sent and before the frame's, since renderers drop what runs backwards. The decoder is then where the
    /// frame finds it as if nothing had been lost or left out. False where the next key frame is to be awaited.
    fn send_gop_again(&mut self, stream: &Stream, frame: &Frame, now: Instant) -> bool {
        let Start::Gop(key) = stream.start() else {
            return false;
        };
        let (Some(idr), Some(before)) = (stream.frame_of(key), stream.second_newest()) else {
            return false;
        };
        let count = frame.ordinal - idr.ordinal;
        let stamp = Stamp::between(idr.ordinal, count, before.timestamp, frame.timestamp);
        let bytes = stream.gop_len() as u64;
        let Some(stamp) = stamp.filter(|_| {
            !self.congestion.queueing() && self.pictures.admit(bytes, self.pacer.rate(), now)
        }) else {
            return false;
        };
        self.leg.numbering.again(key, frame.first, stamp);
        self.pictures.key_frame(now);
        self.counters.pictures_resent += 1;
        true
    }

    /// Sends the packets of `frame` from the next one up to `end`.
    fn send<T: Transmit>(
        &mut self,
        frame: &Frame,
        end: u64,
        to: TransportAddress,
        now: Instant,
        out: &mut T,
    ) {
        let extra = self.rtp.overhead();
        let stamp = self.leg.numbering.stamp();
        self.sendings.mark(self.leg.numbering.next_seq(), now);
        while self.leg.numbering.next_packet() < end {
            let run = frame.run(self.leg.numbering.next_packet(), end, extra);
            let mut room = out.message(to, run.segment, run.len);
            while !room.is_empty() {
                let (chunk, rest) = room.split_at_mut(run.segment.min(room.len()));
                let number = self.leg.numbering.next_packet();
                let seq = self.leg.numbering.take();
                if let Some(content) = self.leg.content(frame, number, stamp) {
                    self.rtp.write(&content, seq, chunk);
                }
                room = rest;
            }
            self.pacer.spend(run.len);
            self.repairs.sent(run.packets);
            self.counters.packets_sent += run.packets;
            self.counters.bytes_sent += run.len as u64;
            self.octets = self
                .octets
                .wrapping_add((run.len - run.packets as usize * extra) as u32);
        }
    }

    /// The stream that he was sent before this one, of which he may still lack packets.
    pub fn stream_before(&self) -> Option<u64> {
        self.leg_before.as_ref().map(|leg| leg.stream)
    }

    /// Goes over from one stream of the camera to another, whose newest frame is sent next; what waited is left out,
    /// also of a frame that was begun: on a thin network one always is, and the key frame behind it needs none of it.
    /// Returns whether it could be done with that frame.
    pub fn switch(&mut self, id: u64, from: &Stream, to: &Stream, now: Instant) -> bool {
        let (pictures, pace) = (&mut self.pictures, self.pacer.rate());
        let admit = |bytes| pictures.admit(bytes, pace, now);
        let Some(leg) = self.leg.onto(id, from, to, admit, now) else {
            return false;
        };
        self.leg_before = Some(Box::new(std::mem::replace(&mut self.leg, leg)));
        self.phase = Phase::Live;
        self.pictures.key_frame(now);
        self.congestion.renewed(to.load(), now);
        self.pacer.set_rate(self.congestion.rate(), now);
        true
    }

    /// A sealed sender report (RFC 3550, 6.4.1) that ties the RTP clock to the wall clock; None before the first packet.
    pub fn report(&mut self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        self.next_report = now + REPORT_INTERVAL;
        let mut packet = self.plain_report(stream, ntp, now)?;
        self.rtp.seal_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    /// A sealed BYE, behind the report that a compound packet starts with (RFC 3550, 6.1).
    pub fn bye(&mut self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        let mut packet = self.plain_report(stream, ntp, now)?;
        rtcp::bye(self.ssrc, &mut packet);
        self.rtp.seal_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    fn plain_report(&self, stream: &Stream, ntp: u64, now: Instant) -> Option<Vec<u8>> {
        let newest = stream.newest().filter(|_| self.counters.packets_sent > 0)?;
        let since = now.saturating_duration_since(newest.arrived).as_micros() as u64 * CLOCK_RATE
            / 1_000_000;
        let info = rtcp::SenderInfo {
            ssrc: self.ssrc,
            ntp,
            rtp_timestamp: self.leg.timestamp(newest.timestamp + since),
            packets: self.counters.packets_sent as u32,
            octets: self.octets,
        };
        let mut packet = Vec::with_capacity(128);
        rtcp::sender_report(&info, &self.cname, &mut packet);
        Some(packet)
    }

    pub fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a [u8], srtp::OpenError> {
        self.receiver.open_rtcp(packet)
    }
}
