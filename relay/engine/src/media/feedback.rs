//! What a viewer's receiver says, and what is done about it: what was lost is sent again, and what his network carries
//! is judged anew.

use std::time::{Duration, Instant};

use super::{Media, Phase};
use crate::address::TransportAddress;
use crate::congestion::{Report, Share, USUAL_ROUND_TRIP};
use crate::leg::Leg;
use crate::numbering::Sent;
use crate::repair::Admission;
use crate::rtcp;
use crate::stream::Stream;
use crate::transmit::Transmit;

/// Browsers put a report before each NACK: on a bad path dozens a second, each about a few packets. One is taken in so
/// long a time, and loss from the sums in it, for its own share is that of an instant.
const HEARD_INTERVAL: Duration = Duration::from_millis(800);
/// Loss in each of two reports so close to each other, from which pictures are held back until what was lost can have
/// come again. Browsers render at once what does not ask them for more than nothing, and stand still at each loss.
const LOSSY: f64 = 0.01;
const LOSSY_WITHIN: Duration = Duration::from_secs(30);
/// Without such loss for so long, pictures are not held back any more.
const CALM: Duration = Duration::from_secs(60);
/// Round trips that it takes where a retransmission is lost too, and what a receiver takes to ask, in milliseconds.
const REPAIR_ROUND_TRIPS: u32 = 3;
const REPAIR_MS: u32 = 70;
/// Loss at which, every ten seconds of a common stream, a second retransmission is lost too; and how long a receiver that
/// measures no round trip waits before it asks for a third (`kDefaultRtt` of libwebrtc's nack_requester.cc), in
/// milliseconds.
const VERY_LOSSY: f64 = 0.05;
const RETRY_MS: u32 = 100;
/// Longer ones are better served by the next key frame.
const MOST_HELD_MS: u32 = 400;
/// Fewer packets say nothing about loss.
const FEW: u64 = 16;
/// Taken for the round trip until one was measured.
const LEAST_ROUND_TRIP: Duration = Duration::from_millis(10);
/// Sequence numbers of one NACK that are looked at.
const MAX_NACKED: usize = 512;

/// The latest receiver report, and what had been sent by then.
pub(super) struct Heard {
    pub(super) at: Instant,
    pub(super) highest: u64,
    pub(super) lost: i32,
    /// The latest report that told of loss worth holding pictures back for.
    pub(super) lossy: Option<Instant>,
    pub(super) resent: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Media {
    /// Takes a compound packet of the receiver's, opened; with the stream that he is sent and the one before, and the
    /// middle 32 bits of now as NTP has them.
    pub fn feedback<T: Transmit>(
        &mut self,
        compound: &[u8],
        (stream, before): (&Stream, Option<&Stream>),
        ntp_middle: u32,
        to: TransportAddress,
        now: Instant,
        out: &mut T,
    ) {
        let ssrc = self.ssrc;
        for packet in rtcp::parse(compound) {
            match packet {
                rtcp::Packet::Nack { media_ssrc, lost } if media_ssrc == ssrc => {
                    self.resend(lost, stream, before, to, now, out);
                }
                rtcp::Packet::ReceiverReport { blocks, .. }
                | rtcp::Packet::SenderReport { blocks, .. } => {
                    for block in blocks.filter(|b| b.ssrc == ssrc) {
                        self.reported(&block, stream, ntp_middle, now);
                    }
                }
                rtcp::Packet::Pli { media_ssrc } if media_ssrc == ssrc => {
                    self.request_picture(None, now);
                }
                rtcp::Packet::Fir { entries } => {
                    for entry in entries.filter(|e| e.ssrc == ssrc) {
                        self.request_picture(Some(entry.sequence), now);
                    }
                }
                rtcp::Packet::Remb { bitrate } => self.estimated(bitrate, now),
                _ => {}
            }
        }
    }

    /// Answers NACKed sequence numbers (RFC 4585, 6.2.1) with the very packets that were lost, or with what they held.
    fn resend<T: Transmit>(
        &mut self,
        lost: impl Iterator<Item = u16>,
        stream: &Stream,
        before: Option<&Stream>,
        to: TransportAddress,
        now: Instant,
        out: &mut T,
    ) {
        self.counters.nacks += 1;
        let round_trip = self
            .counters
            .round_trip
            .unwrap_or_default()
            .max(LEAST_ROUND_TRIP);
        let mut new = 0;
        for seq in lost.take(MAX_NACKED) {
            let Some((leg, stream, sent)) = self.leg_of(seq, stream, before) else {
                continue;
            };
            let Some(frame) = stream.frame_of(sent.packet) else {
                continue;
            };
            let content = leg.content(frame, sent.packet, sent.stamp);
            // What the network did not carry is not needed any more once it is sent key frames only.
            if self.share() == Share::KeyFrames && !frame.key {
                continue;
            }
            // Paced like all else, but first: new pictures wait until the debt is paid.
            if self.pacer.indebted(now) || out.unsent(to) > 0 {
                break;
            }
            match self.repairs.admit(seq, round_trip, now) {
                Admission::First => new += 1,
                Admission::Again => {}
                Admission::UnderWay => continue,
                Admission::Beyond => break,
            }
            let Some(content) = content else { continue };
            let len = self.rtp.resent_len(&content);
            self.rtp
                .resend(&content, sent.seq, out.message(to, len, len));
            self.pacer.spend(len);
            self.counters.packets_resent += 1;
        }
        if new > 0 {
            let sent = self.counters.packets_sent;
            self.congestion.nacked(new, sent, stream.load(), now);
            self.pacer.set_rate(self.congestion.rate(), now);
        }
    }

    /// The leg that a sequence number is of, its stream, and what was sent under it.
    fn leg_of<'l, 's>(
        &'l self,
        seq: u16,
        stream: &'s Stream,
        before: Option<&'s Stream>,
    ) -> Option<(&'l Leg, &'s Stream, Sent)> {
        if let Some(sent) = self.leg.resolve(seq) {
            return Some((&self.leg, stream, sent));
        }
        let (leg, stream) = (self.leg_before.as_deref()?, before?);
        Some((leg, stream, leg.resolve(seq)?))
    }

    /// The receiver lost its picture and says so with PLI, or with FIR under a command number.
    fn request_picture(&mut self, command: Option<u8>, now: Instant) {
        let round_trip = self.counters.round_trip.unwrap_or(USUAL_ROUND_TRIP);
        if self.pictures.request(command, round_trip, now) {
            self.counters.pictures_requested += 1;
        }
    }

    /// The receiver's estimate of the bandwidth, in bits a second.
    fn estimated(&mut self, bitrate: u64, now: Instant) {
        self.congestion.estimated(bitrate);
        self.pacer.set_rate(self.congestion.rate(), now);
    }

    fn measure_round_trip(&mut self, block: &rtcp::ReportBlock, ntp_middle: u32) {
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

    /// Has pictures held back where packets are lost, and no longer than they are, by what a report says and by what was
    /// asked for since the one before: without RTX what comes again counts as not lost.
    fn hold_for_repair(&mut self, lost: f64, stream: &Stream, now: Instant) {
        let sent = self.counters.packets_sent - self.heard.packets;
        let resent = self.counters.packets_resent - self.heard.resent;
        let lost = match sent {
            FEW.. => lost.max(resent as f64 / sent as f64),
            _ => lost,
        };
        if lost < LOSSY {
            let calm = |at| now.saturating_duration_since(at) >= CALM;
            if self.heard.lossy.is_some_and(calm) {
                self.leg.release(stream);
            }
            return;
        }
        let before = self.heard.lossy.replace(now);
        if before.is_some_and(|at| now.saturating_duration_since(at) < LOSSY_WITHIN) {
            let round_trip = self.counters.round_trip.unwrap_or(USUAL_ROUND_TRIP);
            let repair = round_trip.as_millis() as u32 * REPAIR_ROUND_TRIPS + REPAIR_MS;
            let again = if lost < VERY_LOSSY { 0 } else { RETRY_MS };
            let milliseconds = (repair + again).min(MOST_HELD_MS) as u16;
            self.leg.hold(stream, milliseconds);
        }
    }

    /// Takes the receiver's view of the path from its report block on us; `ntp` is the middle 32 bits of now.
    fn reported(
        &mut self,
        block: &rtcp::ReportBlock,
        stream: &Stream,
        ntp_middle: u32,
        now: Instant,
    ) {
        self.measure_round_trip(block, ntp_middle);
        let since = now.saturating_duration_since(self.heard.at);
        let Some(highest) = self.leg.numbering.whole(block.highest_sequence as u16) else {
            return;
        };
        if since < HEARD_INTERVAL {
            return;
        }
        let expected = highest.saturating_sub(self.heard.highest);
        let lost = block.cumulative_lost.saturating_sub(self.heard.lost).max(0);
        let lost = match expected {
            FEW.. => (f64::from(lost) / expected as f64).min(1.0),
            _ => 0.0,
        };
        self.counters.fraction_lost = lost;
        self.hold_for_repair(lost, stream, now);
        let (packets, bytes) = (self.counters.packets_sent, self.counters.bytes_sent);
        let size = match packets - self.heard.packets {
            0 => bytes / packets.max(1),
            sent => (bytes - self.heard.bytes) / sent,
        };
        let arrived = expected as f64 * (1.0 - lost);
        let round_trip = self.counters.round_trip.unwrap_or_default();
        let key_arrived = self.pictures.key_sent() + round_trip;
        let missing = Some(highest + 1).filter(|seq| *seq < self.leg.numbering.next_seq());
        let lag = match self.phase {
            // Nothing follows what was sent last: should that be lost, it would seem to be under way for ever.
            Phase::AwaitKey(_) => round_trip,
            _ => missing.map_or(Duration::ZERO, |seq| self.sendings.age(seq, now)),
        };
        let report = Report {
            lost,
            delivered: (arrived * size as f64 * 8.0 / since.as_secs_f64()) as u64,
            lag,
            round_trip: self.counters.round_trip,
            load: stream.load(),
            paced: self.behind() || (self.heard.at..now).contains(&key_arrived),
        };
        self.congestion.report(&report, packets, now);
        self.pacer.set_rate(self.congestion.rate(), now);
        self.heard = Heard {
            at: now,
            highest,
            lost: block.cumulative_lost,
            lossy: self.heard.lossy,
            resent: self.counters.packets_resent,
            packets,
            bytes,
        };
    }
}
