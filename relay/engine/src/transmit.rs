//! What the hub writes its datagrams into; the socket's batch in the relay, a list in tests.

use std::net::SocketAddr;

pub trait Transmit {
    /// Room for one message of `len` bytes to `to`, which the kernel cuts every `segment` bytes into datagrams
    /// (UDP_SEGMENT); the last may be shorter. At most [`MAX_SEGMENTS`] segments and [`MAX_MESSAGE`] bytes.
    fn message(&mut self, to: SocketAddr, segment: usize, len: usize) -> &mut [u8];

    fn datagram(&mut self, to: SocketAddr, data: &[u8]) {
        self.message(to, data.len(), data.len())
            .copy_from_slice(data);
    }
}

/// The kernel takes 64 segments of UDP_SEGMENT, older ones fewer.
pub const MAX_SEGMENTS: usize = 48;
/// Below the 65,507 bytes of one UDP send.
pub const MAX_MESSAGE: usize = 62_000;
