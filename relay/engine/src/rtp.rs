//! The RTP packets of one viewer as bytes: written, sealed, and written again as a retransmission (RFC 4588).
//! Called by `media`, which numbers them.
//!
//! Invariant: what `write` makes is a function of the packet's content and its number alone.

use crate::header::{Fields, Header, MAX_HEADER, Playout};
use crate::media::{Negotiated, Rtx};
use crate::srtp;
use crate::stream::Frame;
use crate::transmit::{MAX_MESSAGE, MAX_SEGMENTS};

/// The original sequence number before a retransmitted payload (RFC 4588, 4).
const OSN: usize = 2;
/// The largest RTP payload: sealed packets stay within 1,200 bytes, which every path takes.
pub const MAX_PAYLOAD: usize = 1200 - MAX_HEADER - OSN - 16;

/// What a packet says, whatever it is numbered.
#[derive(Clone, Copy)]
pub struct Content<'a> {
    payload: &'a [u8],
    marker: bool,
    timestamp: u32,
    playout: Playout,
}

impl<'a> Content<'a> {
    /// Packet `number` of the stream, which lies in `frame`.
    pub fn of(frame: &'a Frame, number: u64, timestamp: u32, playout: Playout) -> Option<Self> {
        let packet = frame.packet(number)?;
        Some(Self {
            payload: packet.payload,
            marker: packet.marker,
            timestamp,
            playout,
        })
    }
}

pub struct Rtp {
    sender: srtp::Sender,
    header: Header,
    rtx: Option<Rtx>,
    /// Of the next retransmission, its rollover counter above the low 16 bits.
    rtx_seq: u64,
}

impl Rtp {
    pub fn new(negotiated: &Negotiated, sender: srtp::Sender) -> Self {
        Self {
            sender,
            header: Header::new(negotiated),
            rtx: negotiated.rtx,
            // Random, as SSRCs are, and below 2^15 as in `Numbering::new`.
            rtx_seq: negotiated.rtx.map_or(0, |rtx| u64::from(rtx.ssrc & 0x7fff)),
        }
    }

    /// By how much a sealed packet is longer than its payload.
    pub fn overhead(&self) -> usize {
        self.header.byte_len() + self.sender.rtp_overhead()
    }

    /// Writes and seals a packet into `out`, which has exactly its sealed size; `seq` with its rollover counter.
    pub fn write(&self, content: &Content<'_>, seq: u64, out: &mut [u8]) {
        self.header.write(self.fields(content, seq), out);
        let body = &mut out[self.header.byte_len()..];
        body[..content.payload.len()].copy_from_slice(content.payload);
        self.seal(seq, out);
    }

    pub fn resent_len(&self, content: &Content<'_>) -> usize {
        self.overhead() + content.payload.len() + self.rtx.map_or(0, |_| OSN)
    }

    /// Writes what was sent under `seq` once more, into `out` of [`Self::resent_len`].
    pub fn resend(&mut self, content: &Content<'_>, seq: u64, out: &mut [u8]) {
        let Some(rtx) = self.rtx else {
            self.write(content, seq, out);
            return;
        };
        self.header.write(self.fields(content, self.rtx_seq), out);
        let (header, body) = out.split_at_mut(self.header.byte_len());
        Header::readdress(rtx.payload_type, rtx.ssrc, header);
        let (osn, body) = body.split_at_mut(OSN);
        osn.copy_from_slice(&(seq as u16).to_be_bytes());
        body[..content.payload.len()].copy_from_slice(content.payload);
        self.seal(self.rtx_seq, out);
        self.rtx_seq += 1;
    }

    fn fields(&self, content: &Content<'_>, seq: u64) -> Fields {
        Fields {
            marker: content.marker,
            seq: seq as u16,
            timestamp: content.timestamp,
            playout: content.playout,
        }
    }

    fn seal(&self, seq: u64, out: &mut [u8]) {
        self.sender
            .seal_rtp(out, self.header.byte_len(), (seq >> 16) as u32);
    }

    /// As [`srtp::Sender::seal_rtcp`].
    pub fn seal_rtcp(&mut self, packet: &mut Vec<u8>) -> Result<(), srtp::Exhausted> {
        self.sender.seal_rtcp(packet)
    }
}

/// Consecutive packets of equal size, the last possibly shorter: one UDP_SEGMENT send.
pub struct Run {
    pub segment: usize,
    pub len: usize,
    pub packets: u64,
}

impl Frame {
    /// The run that begins with packet `first` and ends before `end` at the latest; `extra` goes around each payload.
    pub fn run(&self, first: u64, end: u64, extra: usize) -> Run {
        let size = |number: u64| self.packet(number).map_or(0, |p| p.payload.len() + extra);
        let segment = size(first);
        let mut run = Run {
            segment,
            len: segment,
            packets: 1,
        };
        while first + run.packets < end && (run.packets as usize) < MAX_SEGMENTS {
            let next = size(first + run.packets);
            if next > segment || run.len + next > MAX_MESSAGE {
                break;
            }
            run.len += next;
            run.packets += 1;
            if next < segment {
                break;
            }
        }
        run
    }
}
