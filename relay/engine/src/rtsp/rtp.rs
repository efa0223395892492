//! The fixed header of an RTP packet (RFC 3550, 5.1), as `rtsp` reads it. Pure.

/// What of a header matters here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
}

/// Splits a packet into header and payload, past CSRCs and header extension, without padding. None where it is no RTP
/// packet; padding that makes no sense is left in.
pub fn parse(packet: &[u8]) -> Option<(Header, &[u8])> {
    let (&[first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3], mut rest) =
        packet.split_first_chunk()?;
    if first >> 6 != 2 {
        return None;
    }
    let header = Header {
        marker: second & 0x80 != 0,
        payload_type: second & 0x7f,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
    };
    rest = rest.get(usize::from(first & 0x0f) * 4..)?;
    if first & 0x10 != 0 {
        let (&[_, _, l0, l1], beyond) = rest.split_first_chunk()?;
        rest = beyond.get(usize::from(u16::from_be_bytes([l0, l1])) * 4..)?;
    }
    if first & 0x20 != 0 {
        let padding = usize::from(rest.last().copied().unwrap_or(0));
        rest = rest
            .get(..rest.len().saturating_sub(padding))
            .filter(|rest| !rest.is_empty())
            .unwrap_or(rest);
    }
    Some((header, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    #[test]
    fn what_lies_around_the_payload_is_taken_off() {
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 0xdead_beef,
            ssrc: 0x0102_0304,
        };
        let fixed = "e01234deadbeef01020304";
        for (first, around, payload) in [
            ("80", "", "6742"),
            ("82", "0000000a0000000b", "6742"),
            ("90", "bede00010a0b0c0d", "6742"),
            ("a0", "", "67420002"),
            ("a0", "", "674200"),
        ] {
            let packet = hex(&format!("{first}{fixed}{around}{payload}"));
            let (read, rest) = parse(&packet).unwrap();
            assert_eq!(read, header);
            let padded = payload.ends_with("0002");
            assert_eq!(rest, hex(if padded { "6742" } else { payload }));
        }
        assert!(
            parse(&hex(&format!("40{fixed}6742"))).is_none(),
            "version 1"
        );
        assert!(parse(&hex(&format!("90{fixed}bede0004"))).is_none());
        assert!(parse(&hex("80e01234deadbeef010203")).is_none());
    }
}
