//! RTCP (RFC 3550) with the feedback that browsers send (RFC 4585, RFC 5104, REMB). The viewer reads what its
//! `srtp::Receiver` opened, and writes sender reports and BYE; a pull reads the camera's and writes receiver reports.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

/// Packet types (RFC 3550, section 12.1; RFC 4585, section 6.1).
mod packet_type {
    pub const SENDER_REPORT: u8 = 200;
    pub const RECEIVER_REPORT: u8 = 201;
    pub const SOURCE_DESCRIPTION: u8 = 202;
    pub const BYE: u8 = 203;
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    pub const PAYLOAD_FEEDBACK: u8 = 206;
}

const VERSION: u8 = 2 << 6;
const PADDING: u8 = 1 << 5;
const REPORT_BLOCK: usize = 24;

/// Iterates over the packets of a compound packet; ends at the first malformed one.
pub fn parse(compound: &[u8]) -> Packets<'_> {
    Packets { rest: compound }
}

/// Iterator over the packets of a compound packet.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let packet = self.take_one();
        if packet.is_none() {
            self.rest = &[];
        }
        packet
    }
}

impl<'a> Packets<'a> {
    fn take_one(&mut self) -> Option<Packet<'a>> {
        let (&[first, packet_type, l0, l1], rest) = self.rest.split_first_chunk()?;
        let words = usize::from(u16::from_be_bytes([l0, l1]));
        let (mut body, rest) = rest.split_at_checked(words * 4)?;
        self.rest = rest;
        if first & 0xc0 != VERSION {
            return None;
        }
        if first & PADDING != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        Packet::read(packet_type, first & 0x1f, body)
    }
}

/// One RTCP packet, or what of it matters here.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        /// NTP timestamp, 32.32 fixed point.
        ntp: u64,
        rtp_timestamp: u32,
        packets: u32,
        octets: u32,
        blocks: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: ReportBlocks<'a>,
    },
    /// Generic NACK (RFC 4585, section 6.2.1).
    Nack {
        media_ssrc: u32,
        lost: Lost<'a>,
    },
    /// Picture loss indication (RFC 4585, section 6.3.1).
    Pli {
        media_ssrc: u32,
    },
    /// Full intra request (RFC 5104, section 4.3.1).
    Fir {
        entries: FirEntries<'a>,
    },
    /// Receiver's estimate of the bandwidth, in bit/s (draft-alvestrand-rmcat-remb-03).
    Remb {
        bitrate: u64,
    },
    Bye {
        /// The first of those that leave; None where none is named.
        ssrc: Option<u32>,
    },
    /// Well-formed, of no use here: SDES, APP, XR, transport-wide feedback, …
    Other {
        packet_type: u8,
    },
}

impl<'a> Packet<'a> {
    /// `count` is the number of blocks or sources, or the format of a feedback message.
    fn read(packet_type: u8, count: u8, mut body: &'a [u8]) -> Option<Self> {
        use packet_type::*;
        Some(match (packet_type, count) {
            (SENDER_REPORT, _) => Self::SenderReport {
                ssrc: take_u32(&mut body)?,
                ntp: u64::from(take_u32(&mut body)?) << 32 | u64::from(take_u32(&mut body)?),
                rtp_timestamp: take_u32(&mut body)?,
                packets: take_u32(&mut body)?,
                octets: take_u32(&mut body)?,
                blocks: ReportBlocks::of(body, count)?,
            },
            (RECEIVER_REPORT, _) => Self::ReceiverReport {
                ssrc: take_u32(&mut body)?,
                blocks: ReportBlocks::of(body, count)?,
            },
            (BYE, 0) => Self::Bye { ssrc: None },
            (BYE, _) => Self::Bye {
                ssrc: Some(take_u32(&mut body)?),
            },
            (TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK, _) => {
                let _sender = take_u32(&mut body)?;
                let media_ssrc = take_u32(&mut body)?;
                Self::read_feedback(packet_type, count, media_ssrc, body)?
            }
            _ => Self::Other { packet_type },
        })
    }

    /// `body` is the feedback control information (RFC 4585, section 6.1).
    fn read_feedback(packet_type: u8, fmt: u8, media_ssrc: u32, body: &'a [u8]) -> Option<Self> {
        use packet_type::*;
        Some(match (packet_type, fmt) {
            (TRANSPORT_FEEDBACK, 1) => Self::Nack {
                media_ssrc,
                lost: Lost::of(body),
            },
            (PAYLOAD_FEEDBACK, 1) => Self::Pli { media_ssrc },
            (PAYLOAD_FEEDBACK, 4) => Self::Fir {
                entries: FirEntries { rest: body },
            },
            (PAYLOAD_FEEDBACK, 15) => match body {
                [b'R', b'E', b'M', b'B', _, b0, b1, b2, ..] => {
                    let mantissa = u64::from(u32::from_be_bytes([0, b0 & 3, *b1, *b2]));
                    // 18 bits by up to 63: beyond 64 bits it means no limit.
                    let bitrate = u128::from(mantissa) << (b0 >> 2);
                    Self::Remb {
                        bitrate: bitrate.try_into().unwrap_or(u64::MAX),
                    }
                }
                _ => Self::Other { packet_type },
            },
            _ => Self::Other { packet_type },
        })
    }
}

fn take_u32(body: &mut &[u8]) -> Option<u32> {
    let (word, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u32::from_be_bytes(*word))
}

/// A report block (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportBlock {
    /// The source it reports on.
    pub ssrc: u32,
    /// Of 256, since the previous report.
    pub fraction_lost: u8,
    /// Since the start; 24 bits, negative where duplicates came.
    pub cumulative_lost: i32,
    /// Extended highest sequence number received.
    pub highest_sequence: u32,
    /// In units of the RTP clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP timestamp of the last sender report; 0 where none came.
    pub last_sr: u32,
    /// Since that report came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// Iterator over `ReportBlock`.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    rest: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    fn of(body: &'a [u8], count: u8) -> Option<Self> {
        Some(Self {
            rest: body.get(..usize::from(count) * REPORT_BLOCK)?,
        })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let ssrc = take_u32(&mut self.rest)?;
        let lost = take_u32(&mut self.rest)?;
        Some(ReportBlock {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            // Shifted up and down again to extend the sign of 24 bits.
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence: take_u32(&mut self.rest)?,
            jitter: take_u32(&mut self.rest)?,
            last_sr: take_u32(&mut self.rest)?,
            delay_since_last_sr: take_u32(&mut self.rest)?,
        })
    }
}

/// Iterator over lost sequence numbers, at most 17 for each word of the packet; may repeat some.
#[derive(Clone, Debug)]
pub struct Lost<'a> {
    rest: &'a [u8],
    first: u16,
    /// Bit n: whether `first + n` is lost and was not returned yet.
    mask: u32,
}

impl<'a> Lost<'a> {
    fn of(body: &'a [u8]) -> Self {
        Self {
            rest: body,
            first: 0,
            mask: 0,
        }
    }
}

impl Iterator for Lost<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask == 0 {
            let word = take_u32(&mut self.rest)?;
            self.first = (word >> 16) as u16;
            self.mask = (word & 0xffff) << 1 | 1;
        }
        let ahead = self.mask.trailing_zeros() as u16;
        self.mask &= self.mask - 1;
        Some(self.first.wrapping_add(ahead))
    }
}

/// One entry of a full intra request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FirEntry {
    /// The source that is to send a key frame.
    pub ssrc: u32,
    /// Command sequence number: the same again is the same command, repeated.
    pub sequence: u8,
}

/// Iterator over `FirEntry`.
#[derive(Clone, Debug)]
pub struct FirEntries<'a> {
    rest: &'a [u8],
}

impl Iterator for FirEntries<'_> {
    type Item = FirEntry;

    fn next(&mut self) -> Option<FirEntry> {
        let ssrc = take_u32(&mut self.rest)?;
        let sequence = (take_u32(&mut self.rest)? >> 24) as u8;
        Some(FirEntry { ssrc, sequence })
    }
}

/// What a sender report says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SenderInfo {
    pub ssrc: u32,
    /// NTP timestamp, 32.32 fixed point, of the same instant as `rtp_timestamp`.
    pub ntp: u64,
    pub rtp_timestamp: u32,
    /// RTP packets sent since the start.
    pub packets: u32,
    /// Payload octets sent since the start.
    pub octets: u32,
}

/// Appends a compound packet: SR without report blocks, and SDES with the CNAME, cut at 255 bytes.
pub fn sender_report(info: &SenderInfo, cname: &str, out: &mut Vec<u8>) {
    header(packet_type::SENDER_REPORT, 0, 6, out);
    out.extend_from_slice(&info.ssrc.to_be_bytes());
    out.extend_from_slice(&info.ntp.to_be_bytes());
    out.extend_from_slice(&info.rtp_timestamp.to_be_bytes());
    out.extend_from_slice(&info.packets.to_be_bytes());
    out.extend_from_slice(&info.octets.to_be_bytes());
    source_description(info.ssrc, cname, out);
}

/// Appends a compound packet: RR with the blocks of `ReportBlock`, at most 31, and SDES with the CNAME, cut at 255 bytes.
pub fn receiver_report(ssrc: u32, blocks: &[ReportBlock], cname: &str, out: &mut Vec<u8>) {
    let blocks = blocks.get(..31).unwrap_or(blocks);
    let words = 1 + blocks.len() * REPORT_BLOCK / 4;
    header(
        packet_type::RECEIVER_REPORT,
        blocks.len() as u8,
        words as u16,
        out,
    );
    out.extend_from_slice(&ssrc.to_be_bytes());
    for block in blocks {
        let lost = u32::from(block.fraction_lost) << 24 | block.cumulative_lost as u32 & 0xff_ffff;
        for word in [
            block.ssrc,
            lost,
            block.highest_sequence,
            block.jitter,
            block.last_sr,
            block.delay_since_last_sr,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    source_description(ssrc, cname, out);
}

/// SSRC, then an item of type 1, its length, its text; at least one zero, up to a whole word.
fn source_description(ssrc: u32, cname: &str, out: &mut Vec<u8>) {
    let cname = cname.as_bytes().get(..255).unwrap_or(cname.as_bytes());
    let words = (4 + 2 + cname.len() + 1).div_ceil(4);
    header(packet_type::SOURCE_DESCRIPTION, 1, words as u16, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[1, cname.len() as u8]);
    out.extend_from_slice(cname);
    out.extend(std::iter::repeat_n(0, words * 4 - (4 + 2 + cname.len())));
}

/// Appends BYE. A compound packet starts with a report (RFC 3550, section 6.1): append it to a
/// `sender_report`.
pub fn bye(ssrc: u32, out: &mut Vec<u8>) {
    header(packet_type::BYE, 1, 1, out);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

/// `words` follow the header.
fn header(packet_type: u8, count: u8, words: u16, out: &mut Vec<u8>) {
    let [l0, l1] = words.to_be_bytes();
    out.extend_from_slice(&[VERSION | count, packet_type, l0, l1]);
}

#[cfg(test)]
mod tests;
