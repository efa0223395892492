//! RTP payloads to access units (RFC 6184, packetization modes 0 and 1). Pure; driven by `rtsp` with packets in their
//! order.
//!
//! Cameras break this format in every way that some player forgives, so this forgives them too: markers that are never
//! set, or on every packet; fragments without an end; Annex-B start codes inside one NAL unit; parameter sets under a
//! timestamp of their own. What is lost is never made up for: an access unit that misses something says so.

use super::rtp::Header;
use crate::h264::{self, nal_type};

/// An access unit beyond this, in bytes or NAL units, is dropped as damaged.
const MAX_BYTES: usize = 4 << 20;
const MAX_NALS: usize = 4096;
/// Room for an ordinary picture, in bytes.
const USUAL: usize = 16 << 10;

/// One access unit.
#[derive(Clone, Copy)]
pub struct Unit<'a> {
    pub timestamp: u32,
    /// Something of it is missing.
    pub damaged: bool,
    data: &'a [u8],
    nals: &'a [(u32, u32)],
}

impl<'a> Unit<'a> {
    /// Its NAL units, none of them empty.
    pub fn nals(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let data = self.data;
        let spans = self.nals.iter();
        spans.filter_map(|&(start, end)| data.get(start as usize..end as usize))
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }
}

/// Whether markers end access units (RFC 6184, 5.1), as far as the camera has shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Markers {
    /// The first unit that one seems to end waits for the packet behind it.
    Unproven,
    Proven,
    /// Only a new timestamp ends one.
    Distrusted,
}

/// The access unit that is being put together.
#[derive(Default)]
struct Open {
    data: Vec<u8>,
    nals: Vec<(u32, u32)>,
    /// Where the NAL unit that comes in fragments begins.
    fragment: Option<usize>,
    /// It holds a slice.
    pictured: bool,
    damaged: bool,
    /// Packets were lost just before its first slice.
    doubtful: bool,
    /// A marker ended it, if markers are to be believed.
    closed: bool,
}

/// What a NAL unit at the start of a payload says about where access units begin.
#[derive(PartialEq)]
enum Lead {
    /// A slice that holds the picture's first macroblock.
    First,
    /// Any other slice.
    Further,
    NoSlice,
}

pub struct Depacketizer {
    open: Open,
    timestamp: u32,
    /// A marker has ended a unit with this timestamp.
    ended: bool,
    markers: Markers,
    foreign: u64,
}

impl Default for Depacketizer {
    fn default() -> Self {
        Self {
            open: Open::default(),
            timestamp: 0,
            ended: false,
            markers: Markers::Unproven,
            foreign: 0,
        }
    }
}

impl Depacketizer {
    /// Takes the next packet, and gives `out` the access units that are complete with it; `lost`: others before it are
    /// missing.
    pub fn push(
        &mut self,
        header: &Header,
        payload: &[u8],
        lost: bool,
        mut out: impl FnMut(Unit<'_>),
    ) {
        let lead = lead(payload);
        if header.timestamp != self.timestamp {
            self.turn(lost, &mut out);
            self.timestamp = header.timestamp;
            self.ended = false;
        } else if self.open.closed && !lost && lead == Lead::First {
            // Two pictures under one timestamp, told apart by the marker.
            self.markers = Markers::Proven;
            self.finish(&mut out);
        } else {
            self.go_on(lost, &lead);
        }
        if lost && !self.open.pictured {
            self.open.doubtful = true;
        }
        self.take(payload, lost);
        if self.open.data.len() > MAX_BYTES || self.open.nals.len() > MAX_NALS {
            self.open.clear();
            self.open.damaged = true;
        }
        if header.marker && self.open.pictured && self.open.fragment.is_none() {
            match self.markers {
                Markers::Unproven => self.open.closed = true,
                Markers::Proven => {
                    self.finish(&mut out);
                    self.ended = true;
                }
                Markers::Distrusted => {}
            }
        }
    }

    /// Payloads of structures that these packetization modes do not have.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// A new timestamp: what is open ends here.
    fn turn(&mut self, lost: bool, out: &mut impl FnMut(Unit<'_>)) {
        let open = &mut self.open;
        if open.closed {
            self.markers = Markers::Proven;
        } else if lost {
            open.damaged |= open.pictured || open.fragment.is_some();
        }
        self.end_fragment();
        // Parameter sets under a timestamp of their own go with the picture behind them.
        if self.open.pictured || self.open.damaged {
            self.finish(out);
        }
    }

    /// The same timestamp again.
    fn go_on(&mut self, lost: bool, lead: &Lead) {
        let open = &mut self.open;
        open.damaged |= lost && (open.pictured || open.fragment.is_some());
        let ended = match self.markers {
            Markers::Unproven => open.closed,
            Markers::Proven => self.ended && !open.pictured && open.fragment.is_none() && !lost,
            Markers::Distrusted => false,
        };
        if ended && *lead == Lead::Further {
            // With markers believed, the head of this picture went out as one.
            open.damaged |= self.markers == Markers::Proven;
            open.closed = false;
            self.markers = Markers::Distrusted;
        }
    }

    fn take(&mut self, payload: &[u8], lost: bool) {
        let Some((&header, body)) = payload.split_first() else {
            return;
        };
        if self.open.data.is_empty() {
            self.open.data.reserve(USUAL);
        }
        match header & 0x1f {
            nal_type::FU_A => self.fragment(header, body, lost),
            nal_type::STAP_A => {
                let mut rest = body;
                while let Some((length, beyond)) = rest.split_first_chunk() {
                    let length = usize::from(u16::from_be_bytes(*length));
                    let Some((nal, beyond)) = beyond.split_at_checked(length) else {
                        self.open.damaged = true;
                        break;
                    };
                    self.whole(nal);
                    rest = beyond;
                }
            }
            1..nal_type::FIRST_OF_RTP => self.whole(payload),
            0 if payload.starts_with(&[0, 0, 1]) || payload.starts_with(&[0, 0, 0, 1]) => {
                self.whole(payload);
            }
            _ => self.foreign += 1,
        }
    }

    /// RFC 6184, 5.8.
    fn fragment(&mut self, indicator: u8, body: &[u8], lost: bool) {
        let Some((&header, bytes)) = body.split_first() else {
            return;
        };
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start {
            // One before that lacks its end is taken for whole, as nothing was lost since.
            self.end_fragment();
            self.open.fragment = Some(self.open.data.len());
            self.open.data.push(indicator & 0xe0 | header & 0x1f);
        } else if self.open.fragment.is_none() || lost {
            self.open.damaged = true;
        }
        if self.open.fragment.is_some() {
            self.open.data.extend_from_slice(bytes);
        }
        if end {
            self.end_fragment();
        }
    }

    /// A NAL unit in one piece.
    fn whole(&mut self, nal: &[u8]) {
        self.end_fragment();
        let start = self.open.data.len();
        self.open.data.extend_from_slice(nal);
        self.split(start);
    }

    fn end_fragment(&mut self) {
        if let Some(start) = self.open.fragment.take() {
            self.split(start);
        }
    }

    /// Takes what was put in since `start` for NAL units: one, or several with start codes between (ITU-T H.264, annex
    /// B), which no NAL unit holds itself.
    fn split(&mut self, start: usize) {
        let open = &mut self.open;
        let data = open.data.get(start..).unwrap_or_default();
        for span in h264::spans_annex_b(data) {
            let nal = data.get(span.clone()).unwrap_or_default();
            if nal.first().is_some_and(|&header| is_slice(header)) && !open.pictured {
                open.pictured = true;
                open.damaged |= open.doubtful && !is_first(nal);
            }
            open.nals
                .push(((start + span.start) as u32, (start + span.end) as u32));
        }
    }

    fn finish(&mut self, out: &mut impl FnMut(Unit<'_>)) {
        out(Unit {
            timestamp: self.timestamp,
            damaged: self.open.damaged,
            data: &self.open.data,
            nals: &self.open.nals,
        });
        self.open.clear();
    }
}

impl Open {
    /// Empty again. The bytes' memory is given back: most cameras have nothing open most of the time, and the next one
    /// finds it in the processor's cache.
    fn clear(&mut self) {
        self.nals.clear();
        *self = Self {
            nals: std::mem::take(&mut self.nals),
            ..Self::default()
        };
    }
}

fn is_slice(header: u8) -> bool {
    matches!(header & 0x1f, nal_type::SLICE..=nal_type::IDR)
}

/// Whether a slice's `first_mb_in_slice` is 0: a single bit. Partitions B and C have none.
fn is_first(slice: &[u8]) -> bool {
    matches!(
        h264::nal_type(slice),
        Some(nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR)
    ) && slice.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

fn lead(payload: &[u8]) -> Lead {
    let (header, first) = match payload {
        [indicator, header, byte, ..] if indicator & 0x1f == nal_type::FU_A => {
            (*header, header & 0x80 != 0 && byte & 0x80 != 0)
        }
        [stap, _, _, nal @ ..] if stap & 0x1f == nal_type::STAP_A => {
            (nal.first().copied().unwrap_or(0), is_first(nal))
        }
        nal => (nal.first().copied().unwrap_or(0), is_first(nal)),
    };
    match (is_slice(header), first) {
        (true, true) => Lead::First,
        (true, false) => Lead::Further,
        (false, _) => Lead::NoSlice,
    }
}

#[cfg(test)]
mod tests;
