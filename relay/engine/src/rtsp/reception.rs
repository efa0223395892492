//! How a source's packets arrive (RFC 3550, 6.4.1 and appendix A): what a receiver report says of it. Pure; driven by
//! `rtsp`.

use std::time::{Duration, Instant};

use crate::rtcp::{self, ReportBlock};
use crate::stream::CLOCK_RATE;

/// Between reports (RFC 3550, 6.2: 5 s at least, without its randomness, as there are two of us).
pub const INTERVAL: Duration = Duration::from_secs(5);
const CNAME: &str = "pancar";

/// What is known of one source (SSRC).
struct Source {
    ssrc: u32,
    /// Extended sequence numbers: before the first, and the highest.
    base: u32,
    highest: u32,
    received: u32,
    /// `expected` and `received` at the last report.
    reported: (u32, u32),
    /// In 1/16 of the RTP clock's units (RFC 3550, A.8).
    jitter: u32,
    /// Arrival less RTP timestamp, in units of the RTP clock.
    transit: Option<u32>,
}

/// All that reports to one sender are made of.
pub struct Reception {
    ssrc: u32,
    began: Instant,
    source: Option<Source>,
    /// Middle 32 bits of the last sender report's NTP timestamp, and when it came.
    last_sr: Option<(u32, Instant)>,
}

impl Reception {
    /// `ssrc` is our own, chosen at random.
    pub fn new(ssrc: u32, now: Instant) -> Self {
        Self {
            ssrc,
            began: now,
            source: None,
            last_sr: None,
        }
    }

    /// Counts a packet of whatever source sends now. `arrived`: None where packets wait for each other on their way, or
    /// for us, and so tell nothing of the network's jitter.
    pub fn packet(&mut self, ssrc: u32, sequence: u16, timestamp: u32, arrived: Option<Instant>) {
        let transit = arrived.map(|at| {
            let since = at.saturating_duration_since(self.began).as_micros() as u64;
            ((since * CLOCK_RATE / 1_000_000) as u32).wrapping_sub(timestamp)
        });
        match self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            Some(source) => source.packet(sequence, transit),
            None => self.source = Some(Source::new(ssrc, sequence, transit)),
        }
    }

    pub fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_sr = Some(((ntp >> 16) as u32, now));
    }

    /// A compound packet for the sender; empty of blocks before its first packet.
    pub fn report(&mut self, now: Instant) -> Vec<u8> {
        let last_sr = self.last_sr;
        let block = self
            .source
            .as_mut()
            .map(|source| source.block(last_sr, now));
        let mut packet = Vec::with_capacity(64);
        rtcp::receiver_report(self.ssrc, block.as_slice(), CNAME, &mut packet);
        packet
    }
}

impl Source {
    fn new(ssrc: u32, sequence: u16, transit: Option<u32>) -> Self {
        let highest = (1 << 16) + u32::from(sequence);
        Self {
            ssrc,
            base: highest.wrapping_sub(1),
            highest,
            received: 1,
            reported: (0, 0),
            jitter: 0,
            transit,
        }
    }

    fn packet(&mut self, sequence: u16, transit: Option<u32>) {
        let step = i32::from(sequence.wrapping_sub(self.highest as u16) as i16);
        // A source that jumps starts anew (RFC 3550, A.1).
        if !(-100..3000).contains(&step) {
            *self = Self::new(self.ssrc, sequence, transit);
            return;
        }
        if step > 0 {
            self.highest = self.highest.wrapping_add(step as u32);
        }
        self.received = self.received.wrapping_add(1);
        let before = std::mem::replace(&mut self.transit, transit);
        if let (Some(before), Some(transit)) = (before, transit) {
            // A jump of the camera's clock is no jitter.
            let difference = (transit.wrapping_sub(before) as i32).unsigned_abs();
            if u64::from(difference) < 10 * CLOCK_RATE {
                self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
            }
        }
    }

    fn block(&mut self, last_sr: Option<(u32, Instant)>, now: Instant) -> ReportBlock {
        let expected = self.highest.wrapping_sub(self.base);
        let (expected_before, received_before) = self.reported;
        self.reported = (expected, self.received);
        let recently = expected.wrapping_sub(expected_before);
        let lost = recently.saturating_sub(self.received.wrapping_sub(received_before));
        let since = |(_, at)| now.saturating_duration_since(at).as_secs_f64() * 65536.0;
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (u64::from(lost) * 256 / u64::from(recently.max(1))).min(255) as u8,
            cumulative_lost: (expected.wrapping_sub(self.received) as i32)
                .clamp(-0x80_0000, 0x7f_ffff),
            highest_sequence: self.highest.wrapping_sub(1 << 16),
            jitter: self.jitter >> 4,
            last_sr: last_sr.map_or(0, |(middle, _)| middle),
            delay_since_last_sr: last_sr.map_or(0, |sr| since(sr) as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Packet;

    fn read(report: &[u8]) -> Vec<ReportBlock> {
        let mut packets = rtcp::parse(report);
        let Some(Packet::ReceiverReport { ssrc: 7, blocks }) = packets.next() else {
            panic!("RFC 3550, 6.1: a report comes first");
        };
        assert!(matches!(
            packets.next(),
            Some(Packet::Other { packet_type: 202 })
        ));
        blocks.collect()
    }

    #[test]
    fn tells_what_was_lost_and_when_the_last_sender_report_came() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut reception = Reception::new(7, start);
        assert_eq!(read(&reception.report(start)), []);
        // 65530 to 4, without 65533 and 65534.
        for (n, sequence) in (65530..=65535).chain(0..=4).enumerate() {
            if !(65533..=65534).contains(&sequence) {
                let n = n as u64;
                reception.packet(9, sequence as u16, 3600 * n as u32, Some(at(40 * n)));
            }
        }
        reception.sender_report(0x1111_2222_3333_4444, at(400));
        let block = read(&reception.report(at(900)))[0];
        let expected = ReportBlock {
            ssrc: 9,
            fraction_lost: (2 * 256 / 11) as u8,
            cumulative_lost: 2,
            highest_sequence: (1 << 16) + 4,
            jitter: 0,
            last_sr: 0x2222_3333,
            delay_since_last_sr: 32768,
        };
        assert_eq!(block, expected);
        reception.packet(9, 5, 3600 * 11 + 1600, Some(at(440)));
        let block = read(&reception.report(at(900)))[0];
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 2));
        assert_eq!(block.jitter, 1600 / 16);
        reception.packet(9, 6, 3600 * 12, None);
        assert_eq!(read(&reception.report(at(900)))[0].jitter, 1600 / 16);
    }
}
