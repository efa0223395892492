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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7983_ranges_and_their_edges() {
        for (first, kind) in [
            (0, Kind::Stun),
            (3, Kind::Stun),
            (4, Kind::Other),
            (16, Kind::Other),
            (19, Kind::Other),
            (20, Kind::Dtls),
            (63, Kind::Dtls),
            (64, Kind::Other),
            (79, Kind::Other),
            (127, Kind::Other),
            (128, Kind::Rtp),
            (191, Kind::Rtp),
            (192, Kind::Other),
            (255, Kind::Other),
        ] {
            assert_eq!(classify(&[first, 96]), kind, "{first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        // RFC 5761, section 4: with the marker bit set, payload types 64 to 95 look like RTCP.
        for (second, kind) in [
            (96, Kind::Rtp),
            (128 + 96, Kind::Rtp),
            (191, Kind::Rtp),
            (192, Kind::Rtcp),
            (200, Kind::Rtcp),
            (206, Kind::Rtcp),
            (223, Kind::Rtcp),
        ] {
            assert_eq!(classify(&[0x80, second]), kind, "{second}");
        }
    }

    #[test]
    fn what_is_too_short_is_nobodys() {
        assert_eq!(classify(&[]), Kind::Other);
        assert_eq!(classify(&[0x80]), Kind::Other);
    }
}
