//! A stretch of a viewer's packets that come from one stream: which packet is next, under which sequence number and
//! timestamp. Going over to another stream of the same camera begins another leg. Pure; owned by `media`.

use std::time::{Duration, Instant};

use crate::header::Playout;
use crate::holding::Holding;
use crate::numbering::{Numbering, Sent, Stamp};
use crate::rtp::Content;
use crate::stream::{CLOCK_RATE, Frame, Start, Stream};

/// Pictures are held back for longer than they are by no less than this, for each turn is kept.
const LEAST_RISE_MS: u16 = 50;

pub struct Leg {
    /// The stream's id, as the hub has it.
    pub stream: u64,
    pub numbering: Numbering,
    /// Packets before this one carry playout-delay 0/0. Moves once, to a packet that is not sent yet.
    live_from: u64,
    holding: Holding,
    /// Added to the stream's timestamps.
    timestamp_offset: u32,
}

impl Leg {
    /// A viewer's first one.
    pub fn new(stream: u64, numbering: Numbering, timestamp_offset: u32) -> Self {
        Self {
            stream,
            numbering,
            live_from: u64::MAX,
            holding: Holding::default(),
            timestamp_offset,
        }
    }

    /// From `packet` on the viewer is at the live edge, if he has not been there before.
    pub fn live_from(&mut self, packet: u64) {
        self.live_from = self.live_from.min(packet);
    }

    /// From the stream's next packet on the viewer holds pictures back, soon for so long, if he does not do so already,
    /// or for almost so long.
    pub fn hold(&mut self, stream: &Stream, milliseconds: u16) {
        let target = self.holding.target();
        if target == 0 || target + LEAST_RISE_MS <= milliseconds {
            self.turn(stream, milliseconds);
        }
    }

    /// He soon does not any more.
    pub fn release(&mut self, stream: &Stream) {
        if self.holding.target() > 0 {
            self.turn(stream, 0);
        }
    }

    fn turn(&mut self, stream: &Stream, milliseconds: u16) {
        let newest = stream.newest().map_or(0, |newest| newest.timestamp);
        self.holding.turn(milliseconds, stream.next(), newest);
    }

    /// The RTP timestamp that stands for one of the stream's.
    pub fn timestamp(&self, timestamp: u64) -> u32 {
        (timestamp as u32).wrapping_add(self.timestamp_offset)
    }

    pub fn content<'a>(
        &self,
        frame: &'a Frame,
        packet: u64,
        stamp: Option<Stamp>,
    ) -> Option<Content<'a>> {
        let timestamp = stamp.map_or(frame.timestamp, |stamp| stamp.of(frame.ordinal));
        let playout = match stamp.is_some() || packet < self.live_from {
            true => Playout::AtOnce,
            false => Playout::AtLeast(self.holding.of(packet, frame.timestamp)?),
        };
        Content::of(frame, packet, self.timestamp(timestamp), playout)
    }

    /// What was sent under the 16 bits `seq` of this leg.
    pub fn resolve(&self, seq: u16) -> Option<Sent> {
        self.numbering.resolve(seq)
    }

    /// The leg that follows this one, which is of the stream `from`, with the newest frame of `to`: at a key frame, or
    /// with the GOP so far where `admit` lets so many bytes pass, its timestamps squeezed in between the newest of
    /// `from` and the frame's. None where the decoder could not follow.
    pub fn onto(
        &self,
        id: u64,
        from: &Stream,
        to: &Stream,
        admit: impl FnOnce(u64) -> bool,
        now: Instant,
    ) -> Option<Self> {
        let frame = to.newest()?;
        // Both timelines tick alike: the frame is as much later than the newest of `from` as it came later.
        let (last, since) = match from.newest() {
            Some(newest) => (newest.timestamp, ticks(now, newest.arrived)),
            None => (0, 1),
        };
        let mut leg = Self {
            stream: id,
            numbering: Numbering::going_on(self.numbering.next_seq(), frame.first),
            live_from: 0,
            holding: self.holding.onto(frame.timestamp as i64 - last as i64),
            timestamp_offset: self
                .timestamp(last + since)
                .wrapping_sub(frame.timestamp as u32),
        };
        if !frame.key {
            let Start::Gop(key) = to.start() else {
                return None;
            };
            let idr = to.frame_of(key)?;
            let (count, after) = (
                frame.ordinal - idr.ordinal,
                frame.timestamp.saturating_sub(since),
            );
            let stamp = Stamp::between(idr.ordinal, count, after, frame.timestamp)
                .filter(|_| admit(to.gop_len() as u64))?;
            leg.numbering.again(key, frame.first, stamp);
        }
        Some(leg)
    }
}

/// At least one.
fn ticks(now: Instant, since: Instant) -> u64 {
    let passed: Duration = now.saturating_duration_since(since);
    (passed.as_micros() as u64 * CLOCK_RATE / 1_000_000).max(1)
}
