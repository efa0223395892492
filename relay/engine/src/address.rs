//! Where a viewer's datagrams come from and go to. Named by `engine` for the socket it read from, and by `hub` and `ice`
//! for the way back.

use std::net::SocketAddr;

/// An IP address and port with their transport protocol (RFC 8445, 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransportAddress {
    pub socket: SocketAddr,
    pub protocol: Protocol,
}

/// A candidate's transport (RFC 8445, 5.1.1; RFC 6544, 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    Udp,
    /// Framed as RFC 4571 has it. Two connections are two ways, though they may come from one address.
    Tcp(ConnectionId),
}

/// An accepted connection; one that is over shares its slot with later ones, and its turn with none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId {
    pub slot: u32,
    pub turn: u32,
}

impl From<SocketAddr> for TransportAddress {
    fn from(socket: SocketAddr) -> Self {
        Self {
            socket,
            protocol: Protocol::Udp,
        }
    }
}
