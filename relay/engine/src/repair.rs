//! Which of the packets that a viewer asks for again he gets (RFC 4585, 6.2.1). Pure; called by `media`.
//!
//! Bounds amplification: never more is resent than half of what was sent plus a burst, and nothing twice within a
//! round trip, in which the first could not have arrived yet.

use std::time::{Duration, Instant};

/// Packets; a key frame that was lost as a whole can come again at once.
const BURST: u64 = 256;
/// One packet may be resent for so many that were sent.
const PRICE: u64 = 2;
/// Receivers ask again after what they take for the round trip, which may be a little less.
const TOLERANCE: u32 = 8;
const SLOTS: usize = 128;

pub struct Repairs {
    /// In packets sent, [`PRICE`] of which pay for one.
    budget: u64,
    started: Instant,
    /// Sequence number and time, in milliseconds after `started` and one, of what was resent last, by the number's low
    /// bits. Made at the first NACK: most viewers send none.
    recent: Option<Box<[(u16, u32); SLOTS]>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    First,
    Again,
    /// Resent within a round trip.
    UnderWay,
    /// More than the viewer may ask for.
    Beyond,
}

impl Repairs {
    pub fn new(now: Instant) -> Self {
        Self {
            budget: BURST * PRICE,
            started: now,
            recent: None,
        }
    }

    /// So many packets were sent for the first time.
    pub fn sent(&mut self, packets: u64) {
        self.budget = (self.budget + packets).min(BURST * PRICE);
    }

    pub fn admit(&mut self, seq: u16, round_trip: Duration, now: Instant) -> Admission {
        let recent = self.recent.get_or_insert_with(|| Box::new([(0, 0); SLOTS]));
        let slot = &mut recent[usize::from(seq) % SLOTS];
        let now = now.saturating_duration_since(self.started).as_millis() as u32 + 1;
        let resent = Some(slot.1).filter(|at| *at > 0 && slot.0 == seq);
        let wait = round_trip - round_trip / TOLERANCE;
        if resent.is_some_and(|at| now - at < wait.as_millis() as u32) {
            return Admission::UnderWay;
        }
        let Some(left) = self.budget.checked_sub(PRICE) else {
            return Admission::Beyond;
        };
        self.budget = left;
        *slot = (seq, now);
        match resent {
            Some(_) => Admission::Again,
            None => Admission::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(80);

    #[test]
    fn a_packet_is_resent_once_a_round_trip() {
        let start = Instant::now();
        let mut repairs = Repairs::new(start);
        let mut at = |seq, ms| repairs.admit(seq, ROUND_TRIP, start + Duration::from_millis(ms));
        assert_eq!(at(7, 0), Admission::First);
        assert_eq!(at(7, 30), Admission::UnderWay);
        assert_eq!(at(8, 30), Admission::First);
        assert_eq!(at(7, 72), Admission::Again);
        assert_eq!(at(7, 100), Admission::UnderWay);
    }

    proptest! {
        #[test]
        fn what_is_resent_is_bounded_by_what_was_sent(
            steps in prop::collection::vec((0u64..300, prop::collection::vec(any::<u16>(), 0..200), 0u64..500), 1..60),
        ) {
            let mut now = Instant::now();
            let mut repairs = Repairs::new(now);
            let (mut sent, mut resent) = (0, 0);
            for (packets, asked, ms) in steps {
                repairs.sent(packets);
                sent += packets;
                for seq in asked {
                    let admission = repairs.admit(seq, ROUND_TRIP, now);
                    resent += u64::from(matches!(admission, Admission::First | Admission::Again));
                }
                prop_assert!(resent <= BURST + sent / PRICE);
                now += Duration::from_millis(ms);
            }
        }
    }
}
