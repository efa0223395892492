//! Whether a viewer who lost his picture is sent the group of pictures once more (PLI, RFC 4585, 6.3.1; FIR, RFC 5104,
//! 4.3.1), or waits for the next key frame. Pure; called by `media`, which sends it.

use std::time::{Duration, Instant};

/// How often at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that may be asked for at once, and what is added to them each second.
const BURST: u64 = 4 << 20;
const RATE: u64 = 512 << 10;
/// A path that takes longer to carry them is better served by the next key frame.
const CARRIED_MS: u64 = 500;

pub struct Pictures {
    wanted: bool,
    /// The newest FIR's; the same again is a repetition (RFC 5104, 4.3.1.1).
    command: Option<u8>,
    answered: Option<Instant>,
    /// When a key frame last went out.
    key_sent: Instant,
    /// As of `refilled`.
    budget: u64,
    refilled: Instant,
}

impl Pictures {
    pub fn new(now: Instant) -> Self {
        Self {
            wanted: false,
            command: None,
            answered: None,
            key_sent: now,
            budget: BURST,
            refilled: now,
        }
    }

    pub fn wanted(&self) -> bool {
        self.wanted
    }

    pub fn key_sent(&self) -> Instant {
        self.key_sent
    }

    /// A key frame goes out, which is all that could be asked for.
    pub fn key_frame(&mut self, now: Instant) {
        self.wanted = false;
        self.key_sent = now;
    }

    /// A PLI, or a FIR with its command number. False where it only repeats another.
    pub fn request(&mut self, command: Option<u8>, round_trip: Duration, now: Instant) -> bool {
        if command.is_some() && command == self.command {
            return false;
        }
        self.command = command.or(self.command);
        // Within a round trip it was asked before the newest key frame could come.
        if now.saturating_duration_since(self.key_sent) >= round_trip {
            self.wanted = true;
        }
        true
    }

    /// Whether `bytes` may be sent once more, at a pace of so many bits a second.
    pub fn admit(&mut self, bytes: u64, pace: u64, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.refilled);
        self.refilled = now;
        let earned = (elapsed.as_secs_f64() * RATE as f64) as u64;
        self.budget = (self.budget + earned).min(BURST);
        let recently = |at: Instant| now.saturating_duration_since(at) < INTERVAL;
        if self.answered.is_some_and(recently)
            || bytes > self.budget
            || bytes > pace / 8_000 * CARRIED_MS
        {
            return false;
        }
        self.budget -= bytes;
        self.answered = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(60);
    const PACE: u64 = 64_000_000;

    #[test]
    fn a_repeated_command_is_one_and_a_pli_is_always_another() {
        let start = Instant::now();
        let mut pictures = Pictures::new(start);
        let now = start + Duration::from_secs(1);
        assert!(pictures.request(Some(7), ROUND_TRIP, now));
        pictures.key_frame(now);
        let now = now + Duration::from_secs(1);
        assert!(!pictures.request(Some(7), ROUND_TRIP, now));
        assert!(!pictures.wanted());
        assert!(pictures.request(Some(8), ROUND_TRIP, now));
        assert!(pictures.request(None, ROUND_TRIP, now));
        assert!(pictures.wanted());
    }

    #[test]
    fn what_was_asked_before_a_key_frame_came_is_answered_by_it() {
        let start = Instant::now();
        let mut pictures = Pictures::new(start);
        assert!(pictures.request(None, ROUND_TRIP, start + ROUND_TRIP / 2));
        assert!(!pictures.wanted());
        assert!(pictures.request(None, ROUND_TRIP, start + ROUND_TRIP));
        assert!(pictures.wanted());
    }

    #[test]
    fn a_slow_path_waits_for_the_next_key_frame() {
        let now = Instant::now();
        let mut pictures = Pictures::new(now);
        assert!(!pictures.admit(100_000, 1_000_000, now));
        assert!(pictures.admit(100_000, 2_000_000, now));
    }

    proptest! {
        #[test]
        fn no_more_is_sent_than_the_budget_and_once_a_second(
            steps in prop::collection::vec((0u64..3 << 20, 0u64..3000), 1..100),
        ) {
            let start = Instant::now();
            let (mut now, mut pictures, mut sent, mut answers) = (start, Pictures::new(start), 0, 0);
            for (bytes, ms) in steps {
                if pictures.admit(bytes, PACE, now) {
                    sent += bytes;
                    answers += 1;
                }
                let seconds = (now - start).as_secs_f64();
                prop_assert!(sent as f64 <= BURST as f64 + seconds * RATE as f64);
                prop_assert!(f64::from(answers) <= 1.0 + seconds);
                now += Duration::from_millis(ms);
            }
        }
    }
}
