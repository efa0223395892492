//! The floor under the fan-out's figures: AES-128-GCM and sendmmsg of GSO messages, paced at a frame rate, nothing
//! else. Run by `pancar bench` in a process of its own, with the packet sizes and sinks of the run it stands beside.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// What a run of the floor took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// To all targets together.
    pub packets: u64,
    /// Bytes of UDP payload, to all targets together.
    pub bytes: u64,
    /// User and system CPU time of the sending thread while it sent.
    pub cpu: Duration,
    /// Time on the clock.
    pub elapsed: Duration,
}

/// Sends `frames` (datagram sizes, RTP header and tag included, of each frame; repeated from the start) to each of
/// `targets` at `fps` for `duration`.
///
/// Errors: `InvalidInput` where sizes, targets (one address family) or rate make no sense; what the socket says.
pub fn run(
    _targets: &[SocketAddr],
    _frames: &[Vec<usize>],
    _fps: f64,
    _duration: Duration,
) -> io::Result<Usage> {
    todo!()
}
