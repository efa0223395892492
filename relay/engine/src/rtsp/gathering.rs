//! When a camera's connection is read: as its bytes come while somebody watches, and ten times a second while nobody
//! does. Pure; driven by `rtsp`.
//!
//! Of a city's cameras most have no viewer at a given moment, and to wake up for each of their pictures is two fifths of
//! what they cost. The kernel keeps what comes meanwhile, by SO_RCVLOWAT (socket(7)), and acknowledges it to the camera
//! at once.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Between two turns of a camera that nobody watches.
const INTERVAL: Duration = Duration::from_millis(100);
/// Turns within an interval: each is a tenth of all cameras, and those who watch others wait for no more than that.
const TURNS: u32 = 10;
/// What is read before its turn: as much as one read takes.
const ENOUGH: usize = 64 << 10;

/// Turns are counted from here by all, so that those who share one share a wake-up.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Of one connection.
pub struct Gathering {
    /// Of its turn within the interval.
    offset: Duration,
    /// When what the kernel keeps is read; None while it keeps nothing.
    turn: Option<Instant>,
}

impl Gathering {
    /// `number` is the camera's, and others have others.
    pub fn new(number: u64) -> Self {
        let offset = INTERVAL / TURNS * (number % u64::from(TURNS)) as u32;
        Self { offset, turn: None }
    }

    /// Call after each read and at `deadline`. `came` is whether the read brought something, `watched` whether what comes
    /// is wanted at once. Returns the number of bytes below which the kernel is to keep them from now on, where that
    /// changes.
    pub fn low_water(&mut self, came: bool, watched: bool, now: Instant) -> Option<usize> {
        match self.turn {
            None if came && !watched => {
                self.turn = Some(self.after(now));
                Some(ENOUGH)
            }
            Some(turn) if watched || now >= turn => {
                self.turn = None;
                Some(1)
            }
            _ => None,
        }
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.turn
    }

    fn after(&self, now: Instant) -> Instant {
        let first = *EPOCH + self.offset;
        let since = now.saturating_duration_since(first).as_millis();
        let turns = since / INTERVAL.as_millis() + 1;
        first + INTERVAL * turns as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_comes_is_kept_until_its_turn_and_read_as_it_comes_while_somebody_watches() {
        let now = *EPOCH + 1000 * MS;
        let mut gathering = Gathering::new(3);
        assert_eq!(gathering.low_water(true, true, now), None);
        assert_eq!(gathering.low_water(false, false, now), None, "nothing came");
        assert_eq!(gathering.low_water(true, false, now), Some(ENOUGH));
        assert_eq!(gathering.deadline(), Some(now + 30 * MS));
        let early = gathering.low_water(true, false, now + 29 * MS);
        assert_eq!(early, None, "so much came that it was read");
        assert_eq!(gathering.low_water(false, false, now + 30 * MS), Some(1));
        assert_eq!(gathering.deadline(), None, "what comes next is read");
        let late = now + 47 * MS;
        assert_eq!(gathering.low_water(true, false, late), Some(ENOUGH));
        assert_eq!(gathering.deadline(), Some(now + 130 * MS));
        assert_eq!(gathering.low_water(false, true, late), Some(1), "watched");
        assert_eq!(gathering.low_water(true, true, late), None);
    }

    #[test]
    fn cameras_take_turns_and_keep_to_them() {
        let now = *EPOCH + 1000 * MS;
        let turn = |number, now| {
            let mut gathering = Gathering::new(number);
            gathering.low_water(true, false, now);
            gathering.deadline().unwrap()
        };
        let turns: Vec<Instant> = (0..20).map(|number| turn(number, now)).collect();
        assert_eq!(turns[..10], turns[10..]);
        for (a, b) in turns[1..10].iter().zip(&turns[2..10]) {
            assert_eq!(*b - *a, 10 * MS);
        }
        for (number, at) in (0..20).zip(turns) {
            assert_eq!(turn(number, at), at + INTERVAL);
            assert_eq!(turn(number, at + 99 * MS), at + INTERVAL);
        }
    }
}
