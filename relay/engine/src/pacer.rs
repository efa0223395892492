//! How fast a viewer is brought from the cached GOP to the live edge.

use std::time::{Duration, Instant};

/// How often a burst goes on.
pub const TICK: Duration = Duration::from_millis(2);
/// Bits a second of a start burst: 2 Mbit/s with a GOP of 10 s is at the live edge within 0.3 s.
const RATE: u64 = 64_000_000;
/// What may go out at once, in bytes: the IDR of most cameras.
const BURST: i64 = 64 << 10;

pub struct Pacer {
    allowance: i64,
    at: Instant,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        Self {
            allowance: BURST,
            at: now,
        }
    }

    /// Bytes that may be sent now; zero or less means wait for the next tick.
    pub fn allowance(&mut self, now: Instant) -> i64 {
        let elapsed = now.saturating_duration_since(self.at).as_micros() as u64;
        self.at = now;
        self.allowance = (self.allowance + (elapsed * RATE / 8 / 1_000_000) as i64).min(BURST);
        self.allowance
    }

    pub fn spend(&mut self, bytes: usize) {
        self.allowance -= bytes as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_keeps_its_rate() {
        let start = Instant::now();
        let (mut now, mut pacer, mut sent) = (start, Pacer::new(start), 0u64);
        while now - start < Duration::from_secs(1) {
            while pacer.allowance(now) > 0 {
                pacer.spend(1200);
                sent += 1200;
            }
            now += TICK;
        }
        assert!((8_000_000..8_100_000).contains(&sent), "{sent}");
    }
}
