//! One camera stream: its frames packetised once, kept for the start burst and for retransmission.
//!
//! Pure state, driven by the hub on the engine's thread. Packets are numbered from 0 for the life of the stream and a
//! number is never used twice, so that what a viewer was sent under a sequence number can be made again, byte for byte.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::h264::Packetized;

/// RTP clock of video (RFC 6184, 8.2.1), in Hz.
pub const CLOCK_RATE: u64 = 90_000;

/// How long packets older than the current GOP stay for retransmission, since they came and on the stream's own timeline:
/// what a starved relay reads at once is no more than what comes in its time.
const HISTORY: Duration = Duration::from_secs(2);
const HISTORY_TICKS: u64 = HISTORY.as_secs() * CLOCK_RATE;

/// Upper bound of what a stream keeps. A GOP that outgrows it is kept as its IDR and its newest frames.
const MAX_BYTES: usize = 8 << 20;

/// What it takes to send a stream.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of the newest key frame.
    pub key_frame: usize,
    /// Bits a second, over what is kept; 0 where that is no more than a frame.
    pub bitrate: u64,
}

/// A packetised frame. `first` is the number of its first packet.
pub struct Frame {
    pub first: u64,
    /// Number of the frame in the stream.
    pub ordinal: u64,
    /// On the stream's own timeline, in units of [`CLOCK_RATE`]; never runs backwards over a reconnect.
    pub timestamp: u64,
    pub key: bool,
    pub arrived: Instant,
    packets: Packetized,
}

/// One RTP payload with what its header needs.
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    pub payload: &'a [u8],
    pub timestamp: u64,
    /// Last packet of its frame.
    pub marker: bool,
}

impl Frame {
    pub fn end(&self) -> u64 {
        self.first + self.packets.ends.len() as u64
    }

    pub fn byte_len(&self) -> usize {
        self.packets.data.len()
    }

    pub fn packet(&self, number: u64) -> Option<Packet<'_>> {
        let i = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let end = *self.packets.ends.get(i)? as usize;
        let start = if i == 0 {
            0
        } else {
            *self.packets.ends.get(i - 1)? as usize
        };
        Some(Packet {
            payload: self.packets.data.get(start..end)?,
            timestamp: self.timestamp,
            marker: i + 1 == self.packets.ends.len(),
        })
    }
}

/// Maps a source's timestamps onto the stream's timeline, across reconnects.
#[derive(Default)]
struct Timeline {
    /// Added to the source's timestamp; None until the first frame after a (re)connect.
    offset: Option<i64>,
    newest: Option<(u64, Instant)>,
}

impl Timeline {
    fn place(&mut self, source: i64, now: Instant) -> u64 {
        let offset = *self.offset.get_or_insert_with(|| {
            let start = match self.newest {
                None => 0,
                Some((timestamp, at)) => {
                    let gap = now.saturating_duration_since(at).as_micros() as u64 * CLOCK_RATE
                        / 1_000_000;
                    timestamp + gap.max(1)
                }
            };
            (start as i64).wrapping_sub(source)
        });
        let timestamp = source.wrapping_add(offset).max(0) as u64;
        self.newest = Some((timestamp, now));
        timestamp
    }
}

/// Ring of frames with the current GOP inside.
pub struct Stream {
    frames: VecDeque<Frame>,
    /// The newest key frame, where the byte bound has pushed it out of `frames`.
    still: Option<Frame>,
    bytes: usize,
    next: u64,
    key: Option<u64>,
    /// Bytes of the newest key frame, and of all since it began.
    key_len: usize,
    gop_len: usize,
    timeline: Timeline,
    pub counters: Counters,
}

#[derive(Default, Clone, Copy)]
pub struct Counters {
    pub frames: u64,
    pub key_frames: u64,
    pub bytes: u64,
    pub packets_lost: u64,
}

/// Where a new viewer's pictures start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The whole GOP so far is there, from this packet on.
    Gop(u64),
    /// Only the IDR is left of the GOP: a still (first packet, end), then on from the next IDR.
    Still(u64, u64),
    /// Nothing yet; on from the next IDR.
    Nothing,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    pub fn new() -> Self {
        Self {
            frames: VecDeque::new(),
            still: None,
            bytes: 0,
            next: 0,
            key: None,
            key_len: 0,
            gop_len: 0,
            timeline: Timeline::default(),
            counters: Counters::default(),
        }
    }

    /// Number of the packet that comes next.
    pub fn next(&self) -> u64 {
        self.next
    }

    pub fn newest(&self) -> Option<&Frame> {
        self.frames.back()
    }

    /// A new source takes over: its first frame must be a key frame, its timestamps are rebased.
    pub fn rebase(&mut self) {
        self.timeline.offset = None;
    }

    /// Appends a frame; `source_timestamp` in 90 kHz units of the source's own clock, extended to 64 bits.
    pub fn push(
        &mut self,
        packets: Packetized,
        source_timestamp: i64,
        key: bool,
        now: Instant,
    ) -> &Frame {
        let timestamp = self.timeline.place(source_timestamp, now);
        let frame = Frame {
            first: self.next,
            ordinal: self.counters.frames,
            timestamp,
            key,
            arrived: now,
            packets,
        };
        self.next = frame.end();
        self.bytes += frame.byte_len();
        self.counters.frames += 1;
        if key {
            self.counters.key_frames += 1;
            self.key = Some(frame.first);
            self.key_len = frame.byte_len();
            self.gop_len = 0;
            self.still = None;
        }
        self.gop_len += frame.byte_len();
        self.frames.push_back(frame);
        self.trim(now);
        // The frame just pushed is never trimmed: trim keeps the last one.
        &self.frames[self.frames.len() - 1]
    }

    fn trim(&mut self, now: Instant) {
        while let (Some(oldest), Some(newest)) = (self.frames.front(), self.frames.back())
            && oldest.first < newest.first
        {
            let in_gop = self.key.is_some_and(|key| oldest.first >= key);
            let stale = now.saturating_duration_since(oldest.arrived) > HISTORY
                || newest.timestamp.saturating_sub(oldest.timestamp) > HISTORY_TICKS;
            if (in_gop || !stale) && self.bytes <= MAX_BYTES {
                return;
            }
            self.bytes -= oldest.byte_len();
            let gone = self.frames.pop_front();
            if gone.as_ref().is_some_and(|f| self.key == Some(f.first)) {
                self.still = gone;
            }
        }
    }

    /// The frame that holds packet `number`, if it is still kept.
    pub fn frame_of(&self, number: u64) -> Option<&Frame> {
        if let Some(still) = self
            .still
            .as_ref()
            .filter(|f| f.first <= number && number < f.end())
        {
            return Some(still);
        }
        let after = self.frames.partition_point(|f| f.first <= number);
        self.frames
            .get(after.checked_sub(1)?)
            .filter(|f| number < f.end())
    }

    /// Bytes of the current GOP so far.
    pub fn gop_len(&self) -> usize {
        self.gop_len
    }

    pub fn load(&self) -> Load {
        Load {
            key_frame: self.key_len,
            bitrate: self.bitrate(),
        }
    }

    fn bitrate(&self) -> u64 {
        let (Some(oldest), Some(newest)) = (self.frames.front(), self.frames.back()) else {
            return 0;
        };
        let ticks = newest.timestamp - oldest.timestamp;
        (self.bytes as u64 * 8 * CLOCK_RATE)
            .checked_div(ticks)
            .unwrap_or(0)
    }

    /// The frame before the newest.
    pub fn second_newest(&self) -> Option<&Frame> {
        self.frames.get(self.frames.len().checked_sub(2)?)
    }

    /// How many of the kept frames begin in `from..until`.
    pub fn frames_between(&self, from: u64, until: u64) -> u64 {
        let before = |number: u64| self.frames.partition_point(|f| f.first < number);
        before(until).saturating_sub(before(from)) as u64
    }

    pub fn start(&self) -> Start {
        match (self.key, &self.still) {
            (None, _) => Start::Nothing,
            (Some(_), Some(still)) => Start::Still(still.first, still.end()),
            (Some(key), None) => Start::Gop(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(packets: usize, size: usize) -> Packetized {
        Packetized {
            data: vec![7; packets * size],
            ends: (1..=packets).map(|i| (i * size) as u32).collect(),
        }
    }

    #[test]
    fn packets_are_found_by_number() {
        let mut stream = Stream::new();
        let now = Instant::now();
        stream.push(frame(3, 10), 0, true, now);
        stream.push(frame(2, 20), 3600, false, now);
        let packet = stream.frame_of(4).and_then(|f| f.packet(4)).unwrap();
        assert_eq!(
            (packet.payload.len(), packet.marker, packet.timestamp),
            (20, true, 3600)
        );
        assert!(!stream.frame_of(3).and_then(|f| f.packet(3)).unwrap().marker);
        assert!(stream.frame_of(5).is_none());
        assert_eq!(stream.start(), Start::Gop(0));
    }

    #[test]
    fn a_new_gop_lets_the_old_one_go_after_the_history() {
        let mut stream = Stream::new();
        let t0 = Instant::now();
        stream.push(frame(1, 10), 0, true, t0);
        stream.push(frame(1, 10), 3600, true, t0 + Duration::from_secs(1));
        assert!(stream.frame_of(0).is_some());
        stream.push(frame(1, 10), 7200, false, t0 + Duration::from_secs(3));
        assert!(stream.frame_of(0).is_none());
        assert_eq!(stream.start(), Start::Gop(1));
    }

    #[test]
    fn a_backlog_that_comes_at_once_is_kept_no_longer_than_what_comes_in_its_time() {
        let mut stream = Stream::new();
        let now = Instant::now();
        for i in 0..250 {
            stream.push(frame(1, 10), 3600 * i, i % 50 == 0, now);
        }
        assert_eq!(stream.start(), Start::Gop(200));
        assert!(stream.frame_of(199).is_some());
        assert!(stream.frame_of(198).is_none());
    }

    #[test]
    fn a_gop_beyond_the_bound_leaves_its_idr_as_a_still() {
        let mut stream = Stream::new();
        let now = Instant::now();
        stream.push(frame(2, 1000), 0, true, now);
        for i in 1..=10 {
            stream.push(frame(1, 1 << 20), 3600 * i, false, now);
        }
        assert_eq!(stream.start(), Start::Still(0, 2));
        assert!(stream.frame_of(1).is_some());
        assert!(stream.frame_of(2).is_none());
        stream.push(frame(1, 10), 40_000, true, now);
        assert_eq!(stream.start(), Start::Gop(12));
    }

    #[test]
    fn timestamps_go_on_over_a_reconnect() {
        let mut stream = Stream::new();
        let t0 = Instant::now();
        assert_eq!(stream.push(frame(1, 1), 1_000_000, true, t0).timestamp, 0);
        assert_eq!(
            stream.push(frame(1, 1), 1_003_600, false, t0).timestamp,
            3600
        );
        stream.rebase();
        let back = stream
            .push(frame(1, 1), 5, true, t0 + Duration::from_secs(2))
            .timestamp;
        assert_eq!(back, 3600 + 180_000);
    }
}
