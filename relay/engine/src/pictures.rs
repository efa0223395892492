//! A viewer's requests for a picture, PLI (RFC 4585, 6.3.1) and FIR (RFC 5104, 4.3.1): which count, and when one is to
//! be answered. Pure; owned by `media`.

use std::time::{Duration, Instant};

/// Requests are answered at most so often.
const INTERVAL: Duration = Duration::from_secs(1);

pub struct Pictures {
    wanted: bool,
    /// The newest FIR's; the same again is a repetition (RFC 5104, 4.3.1.1).
    command: Option<u8>,
    answered: Option<Instant>,
    /// When a key frame last went out.
    key_sent: Instant,
}

impl Pictures {
    pub fn new(now: Instant) -> Self {
        Self {
            wanted: false,
            command: None,
            answered: None,
            key_sent: now,
        }
    }

    /// A PLI, or a FIR with its command number. Returns false for a repetition.
    pub fn request(&mut self, command: Option<u8>, round_trip: Duration, now: Instant) -> bool {
        if command.is_some() && command == self.command {
            return false;
        }
        self.command = command.or(self.command);
        // Else it was asked before the newest key frame could have come.
        if now.saturating_duration_since(self.key_sent) >= round_trip {
            self.wanted = true;
        }
        true
    }

    /// Whether a request is to be answered now.
    pub fn due(&self, now: Instant) -> bool {
        let recently = |at| now.saturating_duration_since(at) < INTERVAL;
        self.wanted && !self.answered.is_some_and(recently)
    }

    pub fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
        self.key_sent(now);
    }

    pub fn key_sent_at(&self) -> Instant {
        self.key_sent
    }

    /// A key frame has gone out, which whoever asked may have been waiting for.
    pub fn key_sent(&mut self, now: Instant) {
        self.wanted = false;
        self.key_sent = now;
    }
}
