//! The source's RTP timestamps as one line that never runs backwards. Pure; used by `pictures`.

use std::time::{Duration, Instant};

use crate::stream::CLOCK_RATE;

/// A step forward beyond what went by is believed up to this; a camera may have left pictures out.
const MAX_STEP: Duration = Duration::from_secs(10);

/// Extends timestamps to 64 bits, over wraps of the 32 (RFC 3550, 5.1) and over jumps: of a jump backwards, or far
/// forwards, the time that went by is taken instead.
#[derive(Default)]
pub struct Clock {
    last: Option<(u32, Instant)>,
    line: i64,
}

impl Clock {
    /// The place of a picture on the line, in units of the RTP clock; each is beyond the one before.
    pub fn place(&mut self, timestamp: u32, now: Instant) -> i64 {
        if let Some((last, at)) = self.last {
            let elapsed = ticks(now.saturating_duration_since(at));
            let step = i64::from(timestamp.wrapping_sub(last) as i32);
            let believed = 1..=elapsed.saturating_add(ticks(MAX_STEP));
            self.line += if believed.contains(&step) {
                step
            } else {
                elapsed.max(1)
            };
        }
        self.last = Some((timestamp, now));
        self.line
    }
}

fn ticks(duration: Duration) -> i64 {
    (duration.as_micros() as u64).saturating_mul(CLOCK_RATE) as i64 / 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(timestamps: &[u32]) -> Vec<i64> {
        let start = Instant::now();
        let mut clock = Clock::default();
        let frames = timestamps.iter().zip(0..);
        frames
            .map(|(&t, n)| clock.place(t, start + Duration::from_millis(40) * n))
            .collect()
    }

    #[test]
    fn goes_on_over_wraps_and_jumps() {
        assert_eq!(run(&[u32::MAX - 3599, 0, 3600]), [0, 3600, 7200], "wraps");
        assert_eq!(run(&[900_000, 903_600, 5, 3605]), [0, 3600, 7200, 10800]);
        assert_eq!(run(&[0, 1 << 30, (1 << 30) + 3600]), [0, 3600, 7200]);
        assert_eq!(run(&[7, 7, 7]), [0, 3600, 7200], "stands still");
        assert_eq!(run(&[0, 3600, 453_600]), [0, 3600, 453_600], "5 s left out");
    }

    proptest! {
        #[test]
        fn never_runs_backwards(timestamps in prop::collection::vec(any::<u32>(), 1..200)) {
            prop_assert!(run(&timestamps).windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
