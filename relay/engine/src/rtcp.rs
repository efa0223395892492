//! RTCP (RFC 3550) with the feedback that browsers send (RFC 4585, RFC 5104, REMB). The viewer reads what its
//! `srtp::Receiver` opened, and writes sender reports and BYE.

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
        todo!()
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

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        todo!()
    }
}

/// Iterator over lost sequence numbers, at most 17 for each word of the packet; may repeat some.
#[derive(Clone, Debug)]
pub struct Lost<'a> {
    rest: &'a [u8],
}

impl Iterator for Lost<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        todo!()
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
        todo!()
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
pub fn sender_report(_info: &SenderInfo, _cname: &str, _out: &mut Vec<u8>) {
    todo!()
}

/// Appends BYE. A compound packet starts with a report (RFC 3550, section 6.1): append it to a `sender_report`.
pub fn bye(_ssrc: u32, _out: &mut Vec<u8>) {
    todo!()
}
