//! A viewer's RTP sequence numbers over the packet numbers of its stream.
//!
//! Invariant: one sequence number stands for one packet of the stream under one timestamp, for ever (RFC 7714, 9.1: a
//! nonce sealed twice over different bytes gives the key away). Numbers only grow; a gap in the stream is closed by a
//! new segment, and what is sent a second time gets one too.

/// Sequence numbers `first_seq..` stand for packets `first_packet..`, until the next segment begins.
#[derive(Clone, Copy)]
struct Segment {
    first_seq: u64,
    first_packet: u64,
    stamp: Option<Stamp>,
}

/// Timestamps of frames that are sent a second time, by their ordinal in the stream: they have to lie behind the newest
/// that was sent, and before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    first: u64,
    base: u64,
    step: u64,
}

impl Stamp {
    /// Spreads `count` frames from ordinal `first` on between two timestamps; None where they do not fit.
    pub fn between(first: u64, count: u64, after: u64, before: u64) -> Option<Self> {
        let room = before.checked_sub(after)?.checked_sub(1)?;
        let step = room.checked_div(count).filter(|step| *step > 0)?;
        let base = after + step;
        Some(Self { first, base, step })
    }

    pub fn of(&self, ordinal: u64) -> u64 {
        self.base + ordinal.saturating_sub(self.first) * self.step
    }
}

/// What was sent under a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub packet: u64,
    /// With the rollover counter above its low 16 bits.
    pub seq: u64,
    /// None: the stream's own timestamp.
    pub stamp: Option<Stamp>,
}

/// Past segments kept for resolving NACKs; older ones are beyond the stream's history, or nearly so.
const MAX_PAST: usize = 7;

pub struct Numbering {
    /// Oldest first; most viewers never have one.
    past: Vec<Segment>,
    /// The segment of the next packet.
    current: Segment,
    /// The packet that is sent next, and its sequence number.
    next_packet: u64,
    next_seq: u64,
    /// Where what is sent a second time ends.
    again_until: Option<u64>,
}

impl Numbering {
    /// `first_seq` is random and below 2^15, so that the receiver guesses its rollover counter right (RFC 3711, 3.3.1).
    pub fn new(first_seq: u16, first_packet: u64) -> Self {
        Self::going_on(u64::from(first_seq & 0x7fff), first_packet)
    }

    /// Goes on where another ended, `first_seq` with its rollover counter above the low 16 bits.
    pub fn going_on(first_seq: u64, first_packet: u64) -> Self {
        Self {
            past: Vec::new(),
            current: Segment {
                first_seq,
                first_packet,
                stamp: None,
            },
            next_packet: first_packet,
            next_seq: first_seq,
            again_until: None,
        }
    }

    pub fn next_packet(&self) -> u64 {
        self.next_packet
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Leaves out what lies before `packet`; does nothing when that is already sent.
    pub fn skip_to(&mut self, packet: u64) {
        if packet > self.next_packet {
            self.begin(packet, None);
        }
    }

    /// Sends packets `from..until`, which were sent before, once more, under new numbers and other timestamps.
    pub fn again(&mut self, from: u64, until: u64, stamp: Stamp) {
        self.begin(from, Some(stamp));
        self.again_until = Some(until);
    }

    fn begin(&mut self, packet: u64, stamp: Option<Stamp>) {
        if self.past.len() == MAX_PAST {
            self.past.remove(0);
        }
        self.past.push(self.current);
        self.current = Segment {
            first_seq: self.next_seq,
            first_packet: packet,
            stamp,
        };
        self.next_packet = packet;
        self.again_until = None;
    }

    /// How the frame that begins or goes on with the next packet is stamped. Called before its packets are taken.
    pub fn stamp(&mut self) -> Option<Stamp> {
        if self.again_until == Some(self.next_packet) {
            self.begin(self.next_packet, None);
        }
        self.current.stamp
    }

    /// The sequence number, with its rollover counter above the low 16 bits, of the next packet.
    pub fn take(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_packet += 1;
        self.next_seq += 1;
        seq
    }

    /// The whole number of the newest sent packet whose low 16 bits are `seq`; None where none was sent.
    pub fn whole(&self, seq: u16) -> Option<u64> {
        let newest = self.next_seq.checked_sub(1)?;
        let back = (newest as u16).wrapping_sub(seq);
        newest.checked_sub(u64::from(back))
    }

    /// What was sent under the 16 bits `seq`; None for what was not sent, or too long ago.
    pub fn resolve(&self, seq: u16) -> Option<Sent> {
        let seq = self.whole(seq)?;
        let segment = std::iter::once(&self.current)
            .chain(self.past.iter().rev())
            .find(|segment| segment.first_seq <= seq)?;
        Some(Sent {
            packet: segment.first_packet + (seq - segment.first_seq),
            seq,
            stamp: segment.stamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sequence_number_stands_for_one_packet_only(
            first in any::<u16>(),
            steps in proptest::collection::vec((0u64..400, 0u64..50, 0u64..80), 1..60),
        ) {
            let mut numbering = Numbering::new(first, 10);
            let mut sent: HashMap<u64, Sent> = HashMap::new();
            for (take, skip, back) in steps {
                for _ in 0..take {
                    let (packet, stamp) = (numbering.next_packet(), numbering.stamp());
                    let seq = numbering.take();
                    let before = sent.insert(seq, Sent { packet, seq, stamp });
                    prop_assert!(before.is_none());
                }
                let next = numbering.next_packet();
                match Stamp::between(take, skip, back, 1000 + back) {
                    Some(stamp) if back > 40 => numbering.again(next.saturating_sub(back), next, stamp),
                    _ => numbering.skip_to(next + skip),
                }
            }
            for seq in sent.keys() {
                if let Some(resolved) = numbering.resolve(*seq as u16) {
                    // Within one turn of the counter the answer is exact; older numbers belong to a later turn.
                    prop_assert_eq!(sent.get(&resolved.seq), Some(&resolved));
                }
            }
        }

        #[test]
        fn stamps_grow_between_what_lies_around_them(
            first: u32, count in 1u64..2000, after: u32, gap in 0u64..10_000,
        ) {
            let (first, after) = (u64::from(first), u64::from(after));
            let Some(stamp) = Stamp::between(first, count, after, after + gap) else {
                prop_assert!(gap <= count, "{count} frames fit into {gap}");
                return Ok(());
            };
            let stamps: Vec<u64> = (first..first + count).map(|n| stamp.of(n)).collect();
            prop_assert!(stamps.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(after < stamps[0] && stamps[stamps.len() - 1] < after + gap);
        }
    }

    #[test]
    fn what_was_not_sent_is_not_resolved() {
        let mut numbering = Numbering::new(5, 0);
        assert_eq!(numbering.resolve(5), None);
        numbering.take();
        let sent = Sent {
            packet: 0,
            seq: 5,
            stamp: None,
        };
        assert_eq!(numbering.resolve(5), Some(sent));
        assert_eq!(numbering.resolve(6), None);
        assert_eq!(numbering.resolve(4), None);
    }

    #[test]
    fn what_is_sent_again_ends_where_it_was_told_to() {
        let mut numbering = Numbering::new(0, 0);
        for _ in 0..4 {
            numbering.take();
        }
        let stamp = Stamp::between(0, 2, 100, 200).unwrap();
        numbering.again(1, 3, stamp);
        let mut sent = Vec::new();
        for _ in 0..4 {
            let stamp = numbering.stamp();
            sent.push((numbering.next_packet(), stamp.is_some(), numbering.take()));
        }
        assert_eq!(
            sent,
            [(1, true, 4), (2, true, 5), (3, false, 6), (4, false, 7)]
        );
    }
}
