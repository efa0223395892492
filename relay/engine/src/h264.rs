//! H.264 as far as a relay has to read it: NAL units, the parameters a viewer's answer and the status need, B-slices,
//! and RFC 6184 packets. The pull reads parameters, the stream packetises each frame once.

use std::fmt;

/// NAL unit types (ITU-T H.264, table 7-1).
pub mod nal_type {
    pub const SLICE: u8 = 1;
    pub const PARTITION_A: u8 = 2;
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
    pub const AUD: u8 = 9;
    pub const FILLER: u8 = 12;
}

/// A length in AVCC framing runs past the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Truncated;

/// Iterates over NAL units behind 4-byte lengths, without empty ones; ends after the first error.
pub fn nals_avcc(frame: &[u8]) -> AvccNals<'_> {
    AvccNals { rest: frame }
}

/// Iterator of `nals_avcc`.
#[derive(Clone, Debug)]
pub struct AvccNals<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AvccNals<'a> {
    type Item = Result<&'a [u8], Truncated>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}

/// The type of a NAL unit; None where it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header & 0x1f)
}

/// Whether a slice is a B-slice; None where the NAL unit is no slice or ends too early.
pub fn is_b_slice(_nal: &[u8]) -> Option<bool> {
    todo!()
}

/// What of a sequence parameter set matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Sps {
    /// profile_idc, constraint flags, level_idc (RFC 6184, section 8.1).
    pub profile_level_id: [u8; 3],
    /// Pixels, cropping taken off; at most 8192.
    pub width: u32,
    /// Pixels, cropping taken off; at most 8192.
    pub height: u32,
    /// From the VUI, where it holds timing that makes sense.
    pub fps: Option<f64>,
}

/// A sequence parameter set that cannot be read or describes no sensible picture.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpsError(String);

impl fmt::Display for SpsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad SPS: {}", self.0)
    }
}

impl std::error::Error for SpsError {}

impl Sps {
    /// Parses a NAL unit of type SPS, header included.
    pub fn parse(_nal: &[u8]) -> Result<Self, SpsError> {
        todo!()
    }
}

/// The RTP payloads of one frame, back to back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Packetized {
    pub data: Vec<u8>,
    /// Where each payload ends in `data`; ascending, the last is `data.len()`.
    pub ends: Vec<u32>,
}

impl Packetized {
    /// The payloads in sending order.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| {
            self.data
                .get(start as usize..end as usize)
                .unwrap_or_default()
        })
    }
}

/// Splits the NAL units of one access unit into payloads of packetization mode 1 (RFC 6184, section 5): STAP-A for
/// neighbouring parameter sets and SEI, single NAL units, and FU-A fragments of one size but the last, which is never
/// larger, so that a run of them is one GSO send. Access unit delimiters, filler and types that RTP has no room for
/// (0, 24 to 31) are dropped.
///
/// # Panics
/// Where `max_payload` is below 64 or above 65535.
pub fn packetize(_nals: &[&[u8]], _max_payload: usize) -> Packetized {
    todo!()
}
