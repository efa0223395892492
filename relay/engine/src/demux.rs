//! Tells apart what shares the relay's one UDP port (RFC 7983, section 7, and RFC 5761, section 4, for RTP and RTCP).
//! Called by the socket for each datagram received.

/// The protocol of a datagram, by its first two bytes alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    /// Empty, ZRTP, TURN channels, QUIC, or a value that nobody has taken.
    Other,
}

/// Looks at the first byte, and the second where RTP and RTCP have to be told apart.
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] => Kind::Rtcp,
        [128..=191, _, ..] => Kind::Rtp,
        _ => Kind::Other,
    }
}
