//! How fast one viewer is sent what waits for him: the start burst, key frames, and whatever his network is behind with.
//!
//! A token bucket of bytes. It grants runs of packets, not single ones, so that a run stays one UDP GSO send. Pure.

use std::time::{Duration, Instant};

/// How often a viewer that is behind is looked at, at most.
pub const TICK: Duration = Duration::from_millis(2);
/// Bits a second while nothing is known of the path: 2 Mbit/s with a GOP of 10 s is at the live edge within 0.3 s.
pub const START_RATE: u64 = 64_000_000;
/// What may go out at once, as a time at the pace: at the start 64 kB, the IDR of most cameras.
const BURST_MS: u64 = 8;
/// Four packets.
const LEAST_BURST: i64 = 4_800;
/// What retransmission may owe, as a time at the pace; a burst of 20 lost packets is repaired at once at any pace.
const DEBT_MS: u64 = 100;
const LEAST_DEBT: i64 = 24_000;
const MOST_DEBT: i64 = 64_000;

pub struct Pacer {
    /// Bits a second.
    rate: u64,
    allowance: i64,
    at: Instant,
}

impl Pacer {
    pub fn new(now: Instant) -> Self {
        let mut pacer = Self {
            rate: START_RATE,
            allowance: 0,
            at: now,
        };
        pacer.allowance = pacer.burst();
        pacer
    }

    pub fn rate(&self) -> u64 {
        self.rate
    }

    pub fn set_rate(&mut self, rate: u64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(1);
        self.allowance = self.allowance.min(self.burst());
    }

    fn bytes_in(&self, ms: u64) -> i64 {
        (self.rate * ms / 8_000) as i64
    }

    fn burst(&self) -> i64 {
        self.bytes_in(BURST_MS).max(LEAST_BURST)
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_micros() as u64;
        let earned = elapsed * self.rate / 8_000_000;
        // Parts of a byte stay with the next refill: asked often, a low rate would otherwise be lower still.
        self.at += Duration::from_nanos(earned * 8_000_000_000 / self.rate);
        self.allowance = (self.allowance + earned as i64).min(self.burst());
    }

    /// Bytes to send now, at least half a burst; 0 means wait. Sending more than granted is owed.
    pub fn grant(&mut self, now: Instant) -> usize {
        self.refill(now);
        match self.allowance {
            ..=0 => 0,
            allowance => allowance.max(self.burst() / 2) as usize,
        }
    }

    /// How long `grant` says 0, as of its last call.
    pub fn wait(&self) -> Duration {
        match self.allowance {
            ..=0 => {
                Duration::from_micros(((1 - self.allowance) as u64 * 8_000_000).div_ceil(self.rate))
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether so much is owed that even what was lost has to wait.
    pub fn indebted(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.allowance < -self.bytes_in(DEBT_MS).clamp(LEAST_DEBT, MOST_DEBT)
    }

    pub fn spend(&mut self, bytes: usize) {
        self.allowance -= bytes as i64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_in_a_second(rate: u64, tick: Duration) -> usize {
        let start = Instant::now();
        let (mut now, mut pacer, mut sent) = (start, Pacer::new(start), 0);
        pacer.set_rate(rate, now);
        while now - start < Duration::from_secs(1) {
            loop {
                let granted = pacer.grant(now);
                if granted == 0 {
                    break;
                }
                pacer.spend(granted);
                sent += granted;
            }
            now += tick;
        }
        sent
    }

    #[test]
    fn a_rate_is_kept_however_often_it_is_asked() {
        for rate in [200_000, 3_000_000, START_RATE] {
            for tick in [Duration::from_micros(37), TICK] {
                let (sent, due) = (sent_in_a_second(rate, tick), rate as usize / 8);
                let burst = (rate as usize / 1000).max(LEAST_BURST as usize);
                assert!(
                    (due..due + 2 * burst).contains(&sent),
                    "{rate} {tick:?}: {sent}"
                );
            }
        }
    }

    #[test]
    fn what_is_granted_is_a_run_and_the_wait_ends_when_the_next_is() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        assert_eq!(pacer.grant(now), 64_000);
        pacer.spend(64_100);
        assert_eq!(pacer.grant(now), 0);
        assert_eq!(pacer.grant(now + pacer.wait()), 32_000);
    }

    #[test]
    fn a_debt_is_bounded_and_paid_off() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        pacer.set_rate(1_000_000, now);
        let mut owed = 0;
        while !pacer.indebted(now) {
            pacer.spend(1_200);
            owed += 1_200;
        }
        assert!((24_000..32_000).contains(&owed), "{owed}");
        assert!(!pacer.indebted(now + Duration::from_millis(50)));
    }
}
