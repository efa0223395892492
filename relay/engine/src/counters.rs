//! What is counted of a viewer's media; kept by `media`, told by the hub.

use std::time::Duration;

#[derive(Default, Clone, Copy)]
pub struct Counters {
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_resent: u64,
    pub nacks: u64,
    pub fraction_lost: f64,
    pub round_trip: Option<Duration>,
    pub dropped: Dropped,
    /// PLI and FIR, and how many of them were answered before the next key frame.
    pub pictures_requested: u64,
    pub pictures_resent: u64,
}

/// Frames that a viewer was not sent, by reason.
#[derive(Default, Clone, Copy, Debug)]
pub struct Dropped {
    /// They waited for the viewer's network for too long.
    pub late: u64,
    /// The network carries key frames only.
    pub thinned: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Late,
    Thinned,
}

impl Dropped {
    pub fn frames(&self) -> u64 {
        self.late + self.thinned
    }

    pub fn add(&mut self, reason: Reason, frames: u64) {
        match reason {
            Reason::Late => self.late += frames,
            Reason::Thinned => self.thinned += frames,
        }
    }
}
