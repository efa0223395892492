//! Puts a source's packets back into their order, and tells what is missing. Pure; driven by `rtsp`.
//!
//! Driving contract: `place` for each packet as it comes; where it says `Next`, the caller takes that packet, then what
//! `pop` gives, until it gives nothing. `pop` again no later than `deadline`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Beyond so many numbers ahead a source has jumped, rather than lost packets (RFC 3550, A.1).
const MAX_DROPOUT: u16 = 3000;
/// Up to so many numbers behind a packet is late or repeated (RFC 3550, A.1).
const MAX_MISORDER: u16 = 100;
/// What is kept behind a gap before the gap is given up, in bytes.
const MAX_KEPT: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placed {
    /// It comes next; so many before it are lost.
    Next { lost: u32 },
    /// It waits for those before it.
    Kept,
    /// Late, repeated, or strayed from elsewhere.
    Dropped,
}

struct Kept {
    arrived: Instant,
    packet: Vec<u8>,
}

/// The order of one source.
pub struct Reorder {
    /// How long a gap may close; zero where the transport keeps the order.
    patience: Duration,
    /// Sequence number, extended.
    next: Option<u64>,
    kept: BTreeMap<u64, Kept>,
    bytes: usize,
    /// What would follow a packet from far off.
    strayed: Option<u16>,
}

impl Reorder {
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            next: None,
            kept: BTreeMap::new(),
            bytes: 0,
            strayed: None,
        }
    }

    pub fn place(&mut self, sequence: u16, packet: &[u8], now: Instant) -> Placed {
        let Some(next) = self.next else {
            return self.start(sequence, 0);
        };
        let ahead = sequence.wrapping_sub(next as u16);
        let behind = (next as u16).wrapping_sub(sequence);
        if ahead < MAX_DROPOUT {
            self.strayed = None;
            let number = next + u64::from(ahead);
            if ahead == 0 || self.patience.is_zero() {
                self.next = Some(number + 1);
                return Placed::Next {
                    lost: u32::from(ahead),
                };
            }
            return self.keep(number, packet, now);
        }
        if behind <= MAX_MISORDER {
            return Placed::Dropped;
        }
        // Believed once its successor follows; over an ordered transport at once.
        if self.patience.is_zero() || self.strayed == Some(sequence) {
            return self.start(sequence, 1);
        }
        self.strayed = Some(sequence.wrapping_add(1));
        Placed::Dropped
    }

    fn start(&mut self, sequence: u16, lost: u32) -> Placed {
        *self = Self::new(self.patience);
        // Away from zero, so that what came before the first has a number too.
        self.next = Some((1 << 16) + u64::from(sequence) + 1);
        Placed::Next { lost }
    }

    fn keep(&mut self, number: u64, packet: &[u8], now: Instant) -> Placed {
        if self.kept.contains_key(&number) {
            return Placed::Dropped;
        }
        self.bytes += packet.len();
        let packet = packet.to_vec();
        let arrived = now;
        self.kept.insert(number, Kept { arrived, packet });
        Placed::Kept
    }

    /// The next packet of those that were kept, and how many before it are lost.
    pub fn pop(&mut self, now: Instant) -> Option<(u32, Vec<u8>)> {
        let next = self.next?;
        let (&number, first) = self.kept.first_key_value()?;
        let due = now >= first.arrived + self.patience || self.bytes > MAX_KEPT;
        if number != next && !due {
            return None;
        }
        let (_, kept) = self.kept.pop_first()?;
        self.bytes -= kept.packet.len();
        self.next = Some(number + 1);
        Some(((number - next) as u32, kept.packet))
    }

    /// When the gap that there is will be given up.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, first) = self.kept.first_key_value()?;
        Some(first.arrived + self.patience)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    /// What the caller takes, as (lost before it, its number).
    fn run(reorder: &mut Reorder, arrivals: &[(u16, u64)], start: Instant) -> Vec<(u32, u16)> {
        let mut taken = Vec::new();
        let mut end = start;
        for &(sequence, ms) in arrivals {
            let now = start + Duration::from_millis(ms);
            end = now;
            while let Some((lost, packet)) = reorder.pop(now) {
                taken.push((lost, u16::from_be_bytes([packet[0], packet[1]])));
            }
            if let Placed::Next { lost } = reorder.place(sequence, &sequence.to_be_bytes(), now) {
                taken.push((lost, sequence));
            }
        }
        while let Some((lost, packet)) = reorder.pop(end + PATIENCE) {
            taken.push((lost, u16::from_be_bytes([packet[0], packet[1]])));
        }
        assert_eq!(reorder.deadline(), None);
        taken
    }

    #[test]
    fn a_gap_is_waited_for_and_then_given_up() {
        let mut reorder = Reorder::new(PATIENCE);
        let start = Instant::now();
        let taken = run(
            &mut reorder,
            &[(65534, 0), (0, 1), (65535, 2), (1, 3)],
            start,
        );
        assert_eq!(taken, [(0, 65534), (0, 65535), (0, 0), (0, 1)]);
        let taken = run(
            &mut reorder,
            &[(4, 0), (5, 10), (6, 49), (2, 51), (7, 52)],
            start,
        );
        assert_eq!(
            taken,
            [(2, 4), (0, 5), (0, 6), (0, 7)],
            "3 never came, 2 too late"
        );
    }

    #[test]
    fn a_source_that_jumps_is_followed() {
        let mut reorder = Reorder::new(PATIENCE);
        let taken = run(
            &mut reorder,
            &[(10, 0), (30000, 1), (11, 2)],
            Instant::now(),
        );
        assert_eq!(
            taken,
            [(0, 10), (0, 11)],
            "one strayed packet moves nothing"
        );
        let taken = run(
            &mut reorder,
            &[(30000, 1), (30001, 2), (30002, 3)],
            Instant::now(),
        );
        assert_eq!(taken, [(1, 30001), (0, 30002)]);
    }

    #[test]
    fn an_ordered_transport_waits_for_nothing() {
        let mut reorder = Reorder::new(Duration::ZERO);
        let arrivals = [(7, 0), (8, 0), (8, 0), (11, 0), (40000, 0), (40001, 0)];
        let taken = run(&mut reorder, &arrivals, Instant::now());
        assert_eq!(taken, [(0, 7), (0, 8), (2, 11), (1, 40000), (0, 40001)]);
    }

    proptest! {
        /// However packets are moved within the patience, repeated or lost: order is restored, and what is missing
        /// is counted.
        #[test]
        fn restores_order(
            first: u16,
            fates in prop::collection::vec((0u64..40, 0u8..20), 2..300),
        ) {
            let number = |index: usize| first.wrapping_add(index as u16);
            let mut arrivals = vec![(number(0), 0)];
            for (index, &(late, fate)) in fates.iter().enumerate().skip(1) {
                let at = 2 * index as u64 + late;
                if fate > 1 {
                    arrivals.push((number(index), at));
                }
                if fate == 2 {
                    arrivals.push((number(index), at + 3));
                }
            }
            arrivals.sort_by_key(|&(_, at)| at);
            let taken = run(&mut Reorder::new(PATIENCE), &arrivals, Instant::now());
            let mut expected = Vec::new();
            let mut lost = 0;
            for (index, &(_, fate)) in fates.iter().enumerate() {
                if index == 0 || fate > 1 {
                    expected.push((lost, number(index)));
                    lost = 0;
                } else {
                    lost += 1;
                }
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
