//! A viewer's RTP sequence numbers over the packet numbers of its stream.
//!
//! Invariant: one sequence number stands for one packet of the stream, for ever (RFC 7714, 9.1: a nonce sealed twice
//! over different bytes gives the key away). Numbers only grow; a gap in the stream is closed by a new segment.

/// Sequence numbers `first_seq..` stand for packets `first_packet..`, until the next segment begins.
#[derive(Clone, Copy)]
struct Segment {
    first_seq: u64,
    first_packet: u64,
}

/// Segments kept for resolving NACKs; older ones are beyond the stream's history.
const MAX_SEGMENTS: usize = 8;

pub struct Numbering {
    segments: Vec<Segment>,
    /// The packet that is sent next, and its sequence number.
    next_packet: u64,
    next_seq: u64,
}

impl Numbering {
    /// `first_seq` is random and below 2^15, so that the receiver guesses its rollover counter right (RFC 3711, 3.3.1).
    pub fn new(first_seq: u16, first_packet: u64) -> Self {
        let first_seq = u64::from(first_seq & 0x7fff);
        Self {
            segments: vec![Segment {
                first_seq,
                first_packet,
            }],
            next_packet: first_packet,
            next_seq: first_seq,
        }
    }

    pub fn next_packet(&self) -> u64 {
        self.next_packet
    }

    /// Leaves out what lies before `packet`; does nothing when that is already sent.
    pub fn skip_to(&mut self, packet: u64) {
        if packet <= self.next_packet {
            return;
        }
        if self.segments.len() == MAX_SEGMENTS {
            self.segments.remove(0);
        }
        self.segments.push(Segment {
            first_seq: self.next_seq,
            first_packet: packet,
        });
        self.next_packet = packet;
    }

    /// The sequence number, with its rollover counter above the low 16 bits, of the next packet.
    pub fn take(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_packet += 1;
        self.next_seq += 1;
        seq
    }

    /// Which packet was sent under the 16 bits `seq`, and its whole number; None for what was not sent, or too long ago.
    pub fn resolve(&self, seq: u16) -> Option<(u64, u64)> {
        let newest = self.next_seq.checked_sub(1)?;
        let back = (newest as u16).wrapping_sub(seq);
        let whole = newest.checked_sub(u64::from(back))?;
        let segment = self.segments.iter().rev().find(|s| s.first_seq <= whole)?;
        Some((segment.first_packet + (whole - segment.first_seq), whole))
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
            steps in proptest::collection::vec((0u64..400, 0u64..50), 1..60),
        ) {
            let mut numbering = Numbering::new(first, 10);
            let mut sent: HashMap<u64, u64> = HashMap::new();
            for (take, skip) in steps {
                for _ in 0..take {
                    let packet = numbering.next_packet();
                    let seq = numbering.take();
                    prop_assert!(sent.insert(seq, packet).is_none());
                }
                numbering.skip_to(numbering.next_packet() + skip);
            }
            for (seq, packet) in &sent {
                if let Some((resolved, whole)) = numbering.resolve(*seq as u16) {
                    // Within one turn of the counter the answer is exact; older numbers belong to a later turn.
                    prop_assert_eq!(sent.get(&whole).copied(), Some(resolved));
                    if whole == *seq {
                        prop_assert_eq!(resolved, *packet);
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_not_sent_is_not_resolved() {
        let mut numbering = Numbering::new(5, 0);
        assert_eq!(numbering.resolve(5), None);
        numbering.take();
        assert_eq!(numbering.resolve(5), Some((0, 5)));
        assert_eq!(numbering.resolve(6), None);
        assert_eq!(numbering.resolve(4), None);
    }
}
