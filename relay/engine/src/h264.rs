//! H.264 as far as a relay has to read it: NAL units, the parameters a viewer's answer and the
//! status need, B-slices, and RFC 6184 packets. The pull reads parameters, the stream packetises
//! each frame once.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::BitReader;
use memchr::memmem;

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
    /// From here on types mean RTP payload structures (RFC 6184, table 1).
    pub const FIRST_OF_RTP: u8 = 24;
    pub const STAP_A: u8 = 24;
    pub const FU_A: u8 = 28;
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
        while !self.rest.is_empty() {
            let unit = self.rest.split_first_chunk().and_then(|(length, rest)| {
                rest.split_at_checked(u32::from_be_bytes(*length) as usize)
            });
            match unit {
                Some((nal, rest)) => {
                    self.rest = rest;
                    if !nal.is_empty() {
                        return Some(Ok(nal));
                    }
                }
                None => {
                    self.rest = &[];
                    return Some(Err(Truncated));
                }
            }
        }
        None
    }
}

const START_CODE: [u8; 3] = [0, 0, 1];

static START_CODES: LazyLock<memmem::Finder<'static>> =
    LazyLock::new(|| memmem::Finder::new(&START_CODE));

/// Iterates over NAL units with start codes between (ITU-T H.264, annex B), without empty ones and without zeros behind
/// them, as where in `bytes` each lies. A single NAL unit is one: none holds a start code, and none ends with zero.
pub fn spans_annex_b(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        loop {
            let start = from?;
            let rest = bytes.get(start..)?;
            let found = START_CODES.find(rest);
            from = found.map(|at| start + at + START_CODE.len());
            let span = rest.get(..found.unwrap_or(rest.len()))?;
            if let Some(last) = span.iter().rposition(|&byte| byte != 0) {
                return Some(start..start + last + 1);
            }
        }
    })
}

/// The NAL units of `spans_annex_b`.
pub fn nals_annex_b(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    spans_annex_b(bytes).filter_map(|span| bytes.get(span))
}

/// The type of a NAL unit; None where it is empty.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header & 0x1f)
}

/// Whether a slice is a B-slice; None where the NAL unit is no slice or its header makes no sense.
pub fn is_b_slice(nal: &[u8]) -> Option<bool> {
    use nal_type::{IDR, PARTITION_A, SLICE};
    if !matches!(nal_type(nal)?, SLICE | PARTITION_A | IDR) {
        return None;
    }
    let mut bits = Bits::of(unescape(nal.get(1..)?));
    let _first_mb_in_slice = bits.ue()?;
    match bits.ue()? {
        slice_type @ 0..=9 => Some(slice_type % 5 == 1),
        _ => None,
    }
}

/// Undoes emulation prevention (ITU-T H.264, 7.4.1.1) and is lenient about sequences that an
/// encoder should have escaped.
fn unescape(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut zeros = 0;
    bytes.iter().copied().filter(move |&byte| {
        let escape = zeros >= 2 && byte == 3;
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        !escape
    })
}

/// The first 128 bits of something, read from the left.
struct Bits {
    value: u128,
    left: u32,
}

impl Bits {
    fn of(bytes: impl Iterator<Item = u8>) -> Self {
        let mut bits = Self { value: 0, left: 0 };
        for byte in bytes.take(16) {
            bits.left += 8;
            bits.value |= u128::from(byte) << (128 - bits.left);
        }
        bits
    }

    /// An unsigned Exp-Golomb code (ITU-T H.264, 9.1) of at most 32 bits.
    fn ue(&mut self) -> Option<u64> {
        let zeros = self.value.leading_zeros();
        let length = 2 * zeros + 1;
        if zeros > 31 || length > self.left {
            return None;
        }
        let code = self.value >> (128 - length);
        self.value <<= length;
        self.left -= length;
        u64::try_from(code - 1).ok()
    }
}

/// What of a sequence parameter set matters here.
#[derive(Clone, Debug, PartialEq)]
pub struct Sps {
    /// profile_idc, constraint flags, level_idc (RFC 6184, section 8.1).
    pub profile_level_id: [u8; 3],
    /// Pixels, cropping taken off; 1 to 8192.
    pub width: u32,
    /// Pixels, cropping taken off; 1 to 8192.
    pub height: u32,
    /// Frames a second from the VUI, where it holds timing that makes sense.
    pub fps: Option<f64>,
    /// Whether it leaves room for pictures that are shown in another order than they are sent: B-frames.
    pub may_reorder: bool,
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
    const MAX_BYTES: usize = 4096;
    const MAX_SIDE: u32 = 8192;
    const MAX_FPS: f64 = 480.0;

    /// Parses a NAL unit of type SPS, header included.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        let error = |what: &str| SpsError(what.to_owned());
        let Some((_, payload)) = nal
            .split_first()
            .filter(|_| nal_type(nal) == Some(nal_type::SPS))
        else {
            return Err(error("another type of NAL unit"));
        };
        if payload.len() > Self::MAX_BYTES {
            return Err(error("longer than 4096 bytes"));
        }
        let rbsp: Vec<u8> = unescape(payload).collect();
        let &[profile, constraints, level, ..] = rbsp.as_slice() else {
            return Err(error("too short"));
        };
        let sps = SeqParameterSet::from_bits(BitReader::new(rbsp.as_slice()))
            .map_err(|e| SpsError(format!("{e:?}")))?;
        let (width, height) = sps
            .pixel_dimensions()
            .map_err(|e| SpsError(format!("{e:?}")))?;
        let sides = 1..=Self::MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(SpsError(format!("a picture of {width}x{height}")));
        }
        Ok(Self {
            profile_level_id: [profile, constraints, level],
            width,
            height,
            fps: sps.fps().filter(|&fps| fps > 0.0 && fps <= Self::MAX_FPS),
            may_reorder: may_reorder(&sps),
        })
    }
}

fn may_reorder(sps: &SeqParameterSet) -> bool {
    const BASELINE: u8 = 66;
    let restrictions = sps
        .vui_parameters
        .as_ref()
        .and_then(|vui| vui.bitstream_restrictions.as_ref());
    u8::from(sps.profile_idc) != BASELINE
        && sps.max_num_ref_frames > 1
        && !matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo)
        && restrictions.is_none_or(|restrictions| restrictions.max_num_reorder_frames > 0)
}

/// Identifiers that a parameter set begins with (ITU-T H.264, 7.3.2.1.1 and 7.3.2.2); None where the NAL unit is
/// neither or too short.
pub fn parameter_set_id(nal: &[u8]) -> Option<ParameterSetId> {
    match nal_type(nal)? {
        nal_type::SPS => {
            // Past profile_idc, constraint flags and level_idc, which emulation prevention does not reach.
            let id = Bits::of(unescape(nal.get(4..)?)).ue()?;
            (id < 32).then_some(ParameterSetId::Sps(id as u8))
        }
        nal_type::PPS => {
            let mut bits = Bits::of(unescape(nal.get(1..)?));
            let (pps, sps) = (bits.ue()?, bits.ue()?);
            (pps < 256 && sps < 32).then_some(ParameterSetId::Pps {
                pps: pps as u8,
                sps: sps as u8,
            })
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParameterSetId {
    Sps(u8),
    /// With the SPS that it refers to.
    Pps {
        pps: u8,
        sps: u8,
    },
}

/// The picture parameter set that a slice refers to (ITU-T H.264, 7.3.3).
pub fn pps_of_slice(nal: &[u8]) -> Option<u8> {
    use nal_type::{IDR, PARTITION_A, SLICE};
    if !matches!(nal_type(nal)?, SLICE | PARTITION_A | IDR) {
        return None;
    }
    let mut bits = Bits::of(unescape(nal.get(1..)?));
    let _first_mb_in_slice = bits.ue()?;
    let _slice_type = bits.ue()?;
    u8::try_from(bits.ue()?).ok()
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

    fn end_payload(&mut self) {
        self.ends.push(self.data.len() as u32);
    }
}

/// Splits the NAL units of one access unit into payloads of packetization mode 1 (RFC 6184,
/// section 5): STAP-A for neighbouring parameter sets and SEI, single NAL units, and FU-A fragments
/// of one size but the last, which is never larger, so that a run of them is one GSO send. Access
/// unit delimiters, filler and types that RTP has no room for (0, 24 to 31) are dropped.
///
/// # Panics
/// Where `max_payload` is below 64 or above 65535.
pub fn packetize(nals: &[&[u8]], max_payload: usize) -> Packetized {
    assert!(
        (64..=65535).contains(&max_payload),
        "max_payload {max_payload}"
    );
    let fragments = |nal: &&[u8]| nal.len() / (max_payload - FU_HEADER) + 1;
    let count: usize = nals.iter().map(fragments).sum();
    let bytes: usize = nals.iter().map(|nal| nal.len()).sum();
    let mut out = Packetized {
        data: Vec::with_capacity(bytes + count * (STAP_HEADER + STAP_LENGTH)),
        ends: Vec::with_capacity(count),
    };
    let mut rest = nals;
    while let Some((&nal, tail)) = rest.split_first() {
        let (together, beyond) = rest.split_at(stap_span(rest, max_payload));
        if !together.is_empty() {
            stap_a(together, &mut out);
            rest = beyond;
            continue;
        }
        rest = tail;
        if carried(nal) {
            if nal.len() <= max_payload {
                out.data.extend_from_slice(nal);
                out.end_payload();
            } else {
                fu_a(nal, max_payload, &mut out);
            }
        }
    }
    out
}

const STAP_HEADER: usize = 1;
/// Before each unit in a STAP-A.
const STAP_LENGTH: usize = 2;
/// FU indicator and FU header.
const FU_HEADER: usize = 2;

/// Whether a NAL unit goes into packets at all.
fn carried(nal: &[u8]) -> bool {
    use nal_type::{AUD, FILLER, FIRST_OF_RTP};
    !matches!(
        nal_type(nal),
        None | Some(0 | AUD | FILLER | FIRST_OF_RTP..)
    )
}

/// How many of the first NAL units, dropped ones included, make one STAP-A; 0 where less than two
/// units would be in it.
fn stap_span(nals: &[&[u8]], max_payload: usize) -> usize {
    use nal_type::{PPS, SEI, SPS};
    let (mut size, mut units, mut span) = (STAP_HEADER, 0, 0);
    for (index, nal) in nals.iter().enumerate().filter(|(_, nal)| carried(nal)) {
        size += STAP_LENGTH + nal.len();
        if !matches!(nal_type(nal), Some(SEI | SPS | PPS)) || size > max_payload {
            break;
        }
        units += 1;
        span = index + 1;
    }
    if units > 1 { span } else { 0 }
}

/// RFC 6184, section 5.7.1: F is the OR and NRI the highest of the units'.
fn stap_a(nals: &[&[u8]], out: &mut Packetized) {
    let headers = nals
        .iter()
        .filter(|nal| carried(nal))
        .filter_map(|nal| nal.first());
    let forbidden = headers
        .clone()
        .fold(0, |bits, header| bits | (header & 0x80));
    let nri = headers.map(|header| header & 0x60).max().unwrap_or(0);
    out.data.push(forbidden | nri | nal_type::STAP_A);
    for nal in nals.iter().filter(|nal| carried(nal)) {
        out.data
            .extend_from_slice(&(nal.len() as u16).to_be_bytes());
        out.data.extend_from_slice(nal);
    }
    out.end_payload();
}

/// RFC 6184, section 5.8.
fn fu_a(nal: &[u8], max_payload: usize, out: &mut Packetized) {
    let Some((&header, body)) = nal.split_first() else {
        return;
    };
    let count = body.len().div_ceil(max_payload - FU_HEADER);
    let chunks = body.chunks(body.len().div_ceil(count));
    let last = chunks.len() - 1;
    for (index, chunk) in chunks.enumerate() {
        let start = if index == 0 { 0x80 } else { 0 };
        let end = if index == last { 0x40 } else { 0 };
        out.data.push((header & 0xe0) | nal_type::FU_A);
        out.data.push(start | end | (header & 0x1f));
        out.data.extend_from_slice(chunk);
        out.end_payload();
    }
}

#[cfg(test)]
mod tests;
