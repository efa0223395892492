//! The RTP headers of one viewer: fixed header and one-byte extensions (RFC 3550, 5.1; RFC 8285, 4.2), laid out once and
//! filled in for each packet. All have one length, so that equal payloads make equal packets. Called by `media`.

use crate::media::Negotiated;

const FIXED: usize = 12;
pub const MAX_MID: usize = 8;
/// Header with the longest extension we write: 4 bytes of frame, MID of [`MAX_MID`] with its byte, playout-delay.
pub const MAX_HEADER: usize = FIXED + 4 + 1 + MAX_MID + 4 + 3;
/// Milliseconds within which a browser may hold back pictures to smooth jitter once it is at the live edge.
const SMOOTHING_MS: u16 = 400;

pub struct Header {
    /// Sequence number and timestamp are blank, playout-delay is 0/0. Here, not behind a pointer: see `prefetch`.
    blank: [u8; MAX_HEADER],
    /// Bytes of `blank` that are the header.
    len: u8,
    /// Where the three bytes of playout-delay lie.
    delay_at: Option<usize>,
}

/// What differs from packet to packet.
#[derive(Clone, Copy)]
pub struct Fields {
    pub marker: bool,
    pub seq: u16,
    pub timestamp: u32,
    pub playout: Playout,
}

/// How long the viewer holds a picture back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Playout {
    /// Not at all: he catches up.
    AtOnce,
    /// So many milliseconds at least, for what is lost to come again, and beyond them as he sees fit.
    AtLeast(u16),
}

impl Header {
    pub fn new(negotiated: &Negotiated) -> Self {
        let mut blank = vec![0u8; FIXED];
        blank[0] = 0x80;
        blank[1] = negotiated.payload_type & 0x7f;
        blank[8..12].copy_from_slice(&negotiated.ssrc.to_be_bytes());
        let mut delay_at = None;
        let mut elements = Vec::new();
        if let Some(id) = negotiated.playout_delay {
            elements.push(id << 4 | 2);
            delay_at = Some(FIXED + 4 + elements.len());
            elements.extend_from_slice(&playout_delay(0, 0));
        }
        if let Some((id, mid)) = negotiated
            .mid
            .as_ref()
            .filter(|(_, mid)| (1..=MAX_MID).contains(&mid.len()))
        {
            elements.push(id << 4 | (mid.len() - 1) as u8);
            elements.extend_from_slice(mid.as_bytes());
        }
        if !elements.is_empty() {
            elements.resize(elements.len().next_multiple_of(4), 0);
            blank[0] |= 0x10;
            blank.extend_from_slice(&[0xbe, 0xde, 0, (elements.len() / 4) as u8]);
            blank.extend_from_slice(&elements);
        }
        let mut header = Self {
            blank: [0; MAX_HEADER],
            len: blank.len() as u8,
            delay_at,
        };
        header.blank[..blank.len()].copy_from_slice(&blank);
        header
    }

    pub fn byte_len(&self) -> usize {
        usize::from(self.len)
    }

    /// Writes into the first [`Self::byte_len`] of `out`; what follows them may be overwritten.
    pub fn write(&self, fields: Fields, out: &mut [u8]) {
        match out.first_chunk_mut() {
            // Of a length that the compiler knows: no call for a few bytes.
            Some(all) => *all = self.blank,
            None => out[..self.byte_len()].copy_from_slice(&self.blank[..self.byte_len()]),
        }
        out[1] |= u8::from(fields.marker) << 7;
        out[2..4].copy_from_slice(&fields.seq.to_be_bytes());
        out[4..8].copy_from_slice(&fields.timestamp.to_be_bytes());
        let (min, max) = match fields.playout {
            Playout::AtOnce => return,
            Playout::AtLeast(ms) => (ms, ms.max(SMOOTHING_MS)),
        };
        if let Some(at) = self.delay_at {
            out[at..at + 3].copy_from_slice(&playout_delay(min, max));
        }
    }

    /// Makes a written header one of another source, as a retransmission's is.
    pub fn readdress(payload_type: u8, ssrc: u32, out: &mut [u8]) {
        out[1] = out[1] & 0x80 | payload_type & 0x7f;
        out[8..12].copy_from_slice(&ssrc.to_be_bytes());
    }
}

/// The playout-delay header extension: two fields of 12 bits, in units of 10 ms.
fn playout_delay(min_ms: u16, max_ms: u16) -> [u8; 3] {
    let (min, max) = (min_ms / 10, max_ms / 10);
    [
        (min >> 4) as u8,
        ((min & 0xf) << 4 | max >> 8) as u8,
        max as u8,
    ]
}
