//! What the hub writes its datagrams into; the sockets' batches in the relay, a list in tests.

use crate::address::TransportAddress;

pub trait Transmit {
    /// Room for one message of `len` bytes to `to`, which is cut every `segment` bytes into datagrams (over UDP by the
    /// kernel, UDP_SEGMENT); the last may be shorter. At most [`MAX_SEGMENTS`] segments and [`MAX_MESSAGE`] bytes.
    fn message(&mut self, to: TransportAddress, segment: usize, len: usize) -> &mut [u8];

    /// Bytes of earlier messages that wait for `to` to take them. Datagrams wait for nobody.
    fn unsent(&self, _to: TransportAddress) -> usize {
        0
    }

    /// Nothing follows to `to`: a connection ends behind what was written.
    fn close(&mut self, _to: TransportAddress) {}

    fn datagram(&mut self, to: TransportAddress, data: &[u8]) {
        self.message(to, data.len(), data.len())
            .copy_from_slice(data);
    }
}

/// The kernel takes 64 segments of UDP_SEGMENT, older ones fewer.
pub const MAX_SEGMENTS: usize = 48;
/// Below the 65,507 bytes of one UDP send.
pub const MAX_MESSAGE: usize = 62_000;
