//! What one viewer's network carries: the pace at which he is sent what waits, and the share of the stream that he is
//! sent at all. Pure; `media` calls it with what his receiver reports.
//!
//! It rests on receiver reports and REMB, and not on transport-wide feedback. Nobody here can change a camera's rate, so
//! all there is to decide is whether a path carries what the camera sends, and for that a report a second is enough:
//! its loss, and how long the first packet that it does not cover is under way, which shows a queue before it spills.
//! Every receiver sends those. Transport-wide feedback takes a number in each packet, the sending time of each packet
//! of each viewer, and ten to twenty RTCP packets a second and viewer to be opened: a third of what the fan-out costs.
//! REMB is taken where it comes, and not asked for: browsers send it only where each packet says when it was sent,
//! which makes what is resent differ, and tells little that reports do not.

use std::time::{Duration, Instant};

use crate::pacer::START_RATE;
use crate::stream::Load;

/// A pace beyond which nothing is paced, in bits a second.
const MOST_RATE: u64 = 256_000_000;
const LEAST_RATE: u64 = 200_000;
/// A queue on the path longer than this is the stream's doing.
const QUEUE: Duration = Duration::from_millis(300);
/// Taken for the round trip until one was measured.
pub const USUAL_ROUND_TRIP: Duration = Duration::from_millis(500);
/// Loss that retransmission cannot make up for; 10 % of random loss stays well below it.
const HEAVY_LOSS: f64 = 0.25;
/// Loss at which key frames are stretched, in case they are what overflows.
const LIGHT_LOSS: f64 = 0.05;
/// How long congestion lasts before less is sent: twice reported, at the usual interval of a second.
const PATIENCE: Duration = Duration::from_millis(900);
/// How long a path is free of congestion before more is tried; twice as long each time that fails soon.
const LEAST_HOLD: Duration = Duration::from_secs(2);
const MOST_HOLD: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(20);
/// As long as a key frame may take because of loss that is not heavy.
const KEY_FRAME_MS: u64 = 250;
/// Packets newly lost, and their part of what was sent meanwhile, that halve the pace at once.
const MANY_LOST: u64 = 16;
const SHARE_LOST: u64 = 4;
const LEAST_CUT_INTERVAL: Duration = Duration::from_millis(50);

/// What a viewer is sent of his stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Everything,
    KeyFrames,
}

/// From the most to the least. A smaller stream of the same camera belongs between the two.
const LADDER: [Share; 2] = [Share::Everything, Share::KeyFrames];

/// What a receiver report says about the path, from the one before to this.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// 0 to 1.
    pub lost: f64,
    /// Bits a second that arrived.
    pub delivered: u64,
    /// Age of the first packet that the report does not cover; zero where it covers all.
    pub lag: Duration,
    pub round_trip: Option<Duration>,
    pub load: Load,
    /// Whether the pace bounded anything that the report tells of.
    pub paced: bool,
}

pub struct Congestion {
    rate: u64,
    /// Beyond this the pace grows slowly: at twice as much, packets were lost.
    slow_from: u64,
    step: usize,
    /// The least of late, creeping up, for a path may become a longer one.
    round_trip: Option<Duration>,
    delivered: u64,
    queueing: bool,
    congested_since: Option<Instant>,
    free_since: Option<Instant>,
    raised: Option<Instant>,
    hold: Duration,
    /// Packets known to be lost since the last report or cut, and how many had been sent by the report before or the cut.
    lost: u64,
    sent_before: u64,
    sent_at_report: u64,
    cut: Option<Instant>,
}

impl Default for Congestion {
    fn default() -> Self {
        Self {
            rate: START_RATE,
            slow_from: MOST_RATE,
            step: 0,
            round_trip: None,
            delivered: 0,
            queueing: false,
            congested_since: None,
            free_since: None,
            raised: None,
            hold: LEAST_HOLD,
            lost: 0,
            sent_before: 0,
            sent_at_report: 0,
            cut: None,
        }
    }
}

impl Congestion {
    /// Bits a second at which the viewer is sent what waits for him.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    pub fn share(&self) -> Share {
        LADDER[self.step]
    }

    /// Whether the latest report told of a queue.
    pub fn queueing(&self) -> bool {
        self.queueing
    }

    /// Takes a receiver report; `sent` counts all packets so far.
    pub fn report(&mut self, report: &Report, sent: u64, now: Instant) {
        self.lost = 0;
        // A NACK comes right behind a report: what is lost was sent before.
        self.sent_before = self.sent_at_report;
        self.sent_at_report = sent;
        self.delivered = report.delivered;
        if let Some(new) = report.round_trip {
            let crept = self
                .round_trip
                .map(|old| old + old / 32 + Duration::from_millis(1));
            self.round_trip = Some(crept.map_or(new, |old| old.min(new)));
        }
        let queued = report
            .lag
            .saturating_sub(self.round_trip.unwrap_or(USUAL_ROUND_TRIP));
        self.queueing = queued > QUEUE;
        if self.queueing || report.lost > HEAVY_LOSS {
            self.congested(report, now);
        } else {
            self.free(report, now);
        }
    }

    fn congested(&mut self, report: &Report, now: Instant) {
        self.free_since = None;
        let since = *self.congested_since.get_or_insert(now);
        let lasting = now.saturating_duration_since(since) >= PATIENCE;
        let carried = report.delivered / 10 * 9;
        match self.share() {
            // What arrives of a stream through a queue is what the path carries, unless it is broken.
            Share::Everything if self.queueing && carried > 0 => self.slow_down(carried),
            Share::Everything if self.queueing => {}
            // One bad second must not leave a pace at which he is late, and so is sent less, ever after.
            Share::Everything if !lasting => {
                self.slow_down((self.rate / 2).max(followed(report.load)))
            }
            // What arrives of key frames is less, and what arrives after an outage too.
            _ => self.slow_down(carried.max(self.rate / 2)),
        }
        // A pace below the camera's rate must not last longer than the queue that it drains.
        self.slow_from = self.slow_from.max(report.delivered * 4);
        if lasting {
            self.send_less(now);
        }
    }

    fn slow_down(&mut self, rate: u64) {
        self.rate = rate.max(LEAST_RATE).min(self.rate);
        self.slow_from = self.rate;
    }

    /// For loss that may be chance.
    fn slow_down_for_loss(&mut self, load: Load) {
        let least = stretched(load).max(self.delivered * 2);
        self.slow_down((self.rate / 2).max(least));
    }

    fn send_less(&mut self, now: Instant) {
        if self.step + 1 == LADDER.len() {
            return;
        }
        let soon = self
            .raised
            .is_some_and(|at| now.saturating_duration_since(at) < SOON);
        self.hold = if soon {
            (self.hold * 2).min(MOST_HOLD)
        } else {
            LEAST_HOLD
        };
        self.step += 1;
        self.congested_since = None;
        self.free_since = None;
    }

    /// Another stream is sent: all of it, and at a pace that lets it show whether the path carries it. What was found of
    /// the one before, which may have been a small one, would hold it up.
    pub fn renewed(&mut self, load: Load, now: Instant) {
        self.step = 0;
        let pace = 2 * stretched(load).max(load.bitrate);
        self.rate = self.rate.max(pace).min(MOST_RATE);
        self.congested_since = None;
        self.free_since = None;
        self.raised = Some(now);
    }

    /// At this pace the viewer fell so far behind that frames were dropped.
    pub fn late(&mut self, now: Instant) {
        self.send_less(now);
    }

    fn free(&mut self, report: &Report, now: Instant) {
        self.congested_since = None;
        if report.lost > LIGHT_LOSS {
            self.slow_down_for_loss(report.load);
        } else if report.paced {
            let grown = match self.rate {
                rate if rate < self.slow_from => rate + rate / 2,
                rate => rate + rate / 10,
            };
            self.rate = grown.min(MOST_RATE);
        }
        let since = *self.free_since.get_or_insert(now);
        if self.step > 0 && now.saturating_duration_since(since) >= self.hold {
            self.step -= 1;
            self.raised = Some(now);
            self.free_since = None;
        }
    }

    /// A NACK told of `lost` packets that were not known to be lost, when `sent` had been sent in all: long before a
    /// report, the pace of a burst is found too high.
    pub fn nacked(&mut self, lost: u64, sent: u64, load: Load, now: Instant) {
        self.lost += lost;
        let many = self.lost >= MANY_LOST
            && self.lost * SHARE_LOST >= sent.saturating_sub(self.sent_before);
        // What was under way when the pace was last cut says nothing about the new one.
        let interval = self.round_trip.unwrap_or_default() * 3 / 2;
        let due = self
            .cut
            .is_none_or(|at| now.saturating_duration_since(at) >= interval.max(LEAST_CUT_INTERVAL));
        if many && due {
            self.slow_down_for_loss(load);
            self.lost = 0;
            self.sent_before = sent;
            self.cut = Some(now);
        }
    }

    /// The receiver's own estimate (REMB), in bits a second. Where reports tell of a queue it says how far to slow down.
    /// Without one it says nothing: it is never much more than what arrives, and grows by less than a tenth a second
    /// where that has become more.
    pub fn estimated(&mut self, bitrate: u64) {
        if self.queueing && bitrate < self.delivered / 10 * 9 {
            self.rate = self.rate.min(bitrate.max(LEAST_RATE));
        }
    }
}

/// The pace at which a key frame takes [`KEY_FRAME_MS`].
fn stretched(load: Load) -> u64 {
    (load.key_frame as u64 * 8_000 / KEY_FRAME_MS).max(LEAST_RATE)
}

/// The least pace at which nobody falls behind because of it, even if a third of the packets is sent again.
fn followed(load: Load) -> u64 {
    stretched(load).max(load.bitrate + load.bitrate / 2)
}

/// When packets were sent, to within [`Sendings::STEP`], for the last two seconds.
pub struct Sendings {
    started: Instant,
    /// The low bits of a packet's number, and milliseconds after `started`; a ring.
    marks: [(u32, u32); Self::MARKS],
    /// How many were ever set.
    set: usize,
}

impl Sendings {
    const MARKS: usize = 32;
    const STEP: u32 = 64;

    pub fn new(now: Instant) -> Self {
        Self {
            started: now,
            marks: [(0, 0); Self::MARKS],
            set: 0,
        }
    }

    fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.started).as_millis() as u32
    }

    /// From now on packets from `seq` on are sent.
    pub fn mark(&mut self, seq: u64, now: Instant) {
        let now = self.ms(now);
        let last = self
            .set
            .checked_sub(1)
            .map(|last| self.marks[last % Self::MARKS].1);
        if last.is_none_or(|last| now.wrapping_sub(last) >= Self::STEP) {
            self.marks[self.set % Self::MARKS] = (seq as u32, now);
            self.set += 1;
        }
    }

    /// How long ago the sent packet `seq` was sent, at most; where that is too long ago to know, at least.
    pub fn age(&self, seq: u64, now: Instant) -> Duration {
        let now = self.ms(now);
        let oldest = self.set.saturating_sub(Self::MARKS);
        let marks = (oldest..self.set).map(|mark| self.marks[mark % Self::MARKS]);
        let reached = |first: &(u32, u32)| (seq as u32).wrapping_sub(first.0) as i32 >= 0;
        let (_, at) = marks
            .clone()
            .rev()
            .find(reached)
            .or(marks.clone().next())
            .unwrap_or((0, now));
        Duration::from_millis(now.wrapping_sub(at).into())
    }
}

#[cfg(test)]
mod tests;
