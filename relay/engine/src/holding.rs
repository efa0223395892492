//! How long a viewer holds pictures back, so that what was lost can come again: a delay that rises and falls by little
//! with each picture. Pure; owned by `leg`.
//!
//! Invariant: the delay of a packet is one and the same whenever it is asked for, or none is known: a packet that is
//! sent again must be what it was (see `numbering`).

use crate::stream::CLOCK_RATE;

/// Milliseconds of the stream in which the delay changes by one. All at once would be a freeze as long as the whole, or
/// a leap; this is playing by a quarter slower or faster for a second.
const SLOPE: u64 = 4;

/// Of which packets are asked for again, those of the GOP included: turns are half a minute apart and more.
const MAX_TURNS: usize = 4;

/// The delay heads for another value.
#[derive(Clone, Copy)]
struct Turn {
    /// The first packet that it concerns, which was not sent yet.
    packet: u64,
    /// On the stream's timeline, which may have begun later.
    since: i64,
    /// In milliseconds.
    from: u16,
    to: u16,
}

impl Turn {
    fn at(&self, timestamp: u64) -> u16 {
        let passed = (timestamp as i64 - self.since).max(0) as u64;
        let moved = (passed / (CLOCK_RATE / 1000 * SLOPE)).min(u64::from(u16::MAX)) as u16;
        match self.to > self.from {
            true => self.from.saturating_add(moved).min(self.to),
            false => self.from.saturating_sub(moved).max(self.to),
        }
    }
}

/// The delay of each packet; zero until the first turn.
#[derive(Clone, Default)]
pub struct Holding {
    turns: Vec<Turn>,
    /// What was before the first of `turns` is not known any more.
    forgot: bool,
}

impl Holding {
    /// Milliseconds that the delay is, or heads for.
    pub fn target(&self) -> u16 {
        self.turns.last().map_or(0, |turn| turn.to)
    }

    /// Heads for so many milliseconds, from `packet` on, which is not sent yet; `timestamp` is the newest sent one.
    pub fn turn(&mut self, milliseconds: u16, packet: u64, timestamp: u64) {
        let from = self.turns.last().map_or(0, |turn| turn.at(timestamp));
        if self.turns.len() == MAX_TURNS {
            self.turns.remove(0);
            self.forgot = true;
        }
        self.turns.push(Turn {
            packet,
            since: timestamp as i64,
            from,
            to: milliseconds,
        });
    }

    /// The delay of a packet with the stream's timestamp, in milliseconds; None where it is not known any more.
    pub fn of(&self, packet: u64, timestamp: u64) -> Option<u16> {
        match self.turns.iter().rfind(|turn| turn.packet <= packet) {
            Some(turn) => Some(turn.at(timestamp)),
            None => (!self.forgot).then_some(0),
        }
    }

    /// For another stream, none of whose packets were sent, and whose timestamps are ahead by so much.
    pub fn onto(&self, ahead: i64) -> Self {
        let turn = self.turns.last().map(|turn| Turn {
            packet: 0,
            since: turn.since + ahead,
            ..*turn
        });
        Self {
            turns: turn.into_iter().collect(),
            forgot: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: u64 = CLOCK_RATE / 25;

    #[test]
    fn a_delay_rises_and_falls_by_ten_milliseconds_a_picture() {
        let mut holding = Holding::default();
        assert_eq!(holding.of(7, 7 * FRAME), Some(0));
        holding.turn(25, 8, 7 * FRAME);
        let delays = |holding: &Holding| [7, 8, 9, 10, 11].map(|n| holding.of(n, n * FRAME));
        assert_eq!(delays(&holding), [0, 10, 20, 25, 25].map(Some));
        holding.turn(0, 11, 10 * FRAME);
        assert_eq!(delays(&holding), [0, 10, 20, 25, 15].map(Some));
        assert_eq!(holding.of(14, 14 * FRAME), Some(0));
        assert_eq!(holding.target(), 0);
    }

    #[test]
    fn another_stream_goes_on_where_the_delay_stands() {
        let mut holding = Holding::default();
        holding.turn(100, 50, 1000 * FRAME);
        let other = holding.onto(-(900 * FRAME as i64));
        assert_eq!(other.of(3, 105 * FRAME), holding.of(60, 1005 * FRAME));
    }

    proptest! {
        #[test]
        fn a_packet_keeps_its_delay_or_none_is_known(
            turns in prop::collection::vec((1u64..40, 0u16..400), 1..12),
        ) {
            let (mut holding, mut given) = (Holding::default(), Vec::new());
            for (packets, milliseconds) in turns {
                let first = given.len() as u64;
                given.extend((first..first + packets).map(|n| holding.of(n, n * FRAME)));
                let next = given.len() as u64;
                holding.turn(milliseconds, next, (next - 1) * FRAME);
                for (n, &then) in (0..).zip(&given) {
                    let now = holding.of(n, n * FRAME);
                    prop_assert!(now.is_none() || now == then, "{n}: {then:?}, then {now:?}");
                }
            }
        }
    }
}
