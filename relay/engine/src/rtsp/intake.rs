//! The packets of one session on their way to pictures: order, access units, and what is reported back. Pure; driven
//! by `rtsp`.
//!
//! Driving contract: `take` for each packet as it comes, `timeout` no later than `deadline`; `now` never runs backwards.

use std::time::{Duration, Instant};

use retina::client::RawPacket;

use super::depacketize::Depacketizer;
use super::failure::Failure;
use super::pictures::{Message, Pictures};
use super::reception::Reception;
use super::reorder::{Placed, Reorder};
use super::rtp::{self, Header};
use crate::event::Fault;
use crate::rtcp;

pub struct Intake {
    payload_type: u8,
    patience: Duration,
    /// The SSRC that sends; another takes over at once, as after a restart of the encoder.
    source: Option<u32>,
    reorder: Reorder,
    reception: Reception,
    depacketizer: Depacketizer,
    pictures: Pictures,
    /// RTP packets of the format, and others.
    packets: u64,
    strange: u64,
    joined: Vec<u8>,
}

impl Intake {
    /// `patience` is how long packets may be out of order, zero where the transport keeps it; `ssrc` our own.
    pub fn new(
        payload_type: u8,
        patience: Duration,
        pictures: Pictures,
        ssrc: u32,
        now: Instant,
    ) -> Self {
        Self {
            payload_type,
            patience,
            source: None,
            reorder: Reorder::new(patience),
            reception: Reception::new(ssrc, now),
            depacketizer: Depacketizer::default(),
            pictures,
            packets: 0,
            strange: 0,
            joined: Vec::new(),
        }
    }

    /// Takes a packet as it lies in retina's ring. Errors: what ends the pull.
    pub fn take(
        &mut self,
        raw: &RawPacket<'_>,
        now: Instant,
        out: &impl Fn(Message),
    ) -> Result<(), Failure> {
        if raw.second.is_empty() {
            return self.packet(raw.first, raw.is_rtcp, now, out);
        }
        let mut joined = std::mem::take(&mut self.joined);
        joined.clear();
        joined.extend_from_slice(raw.first);
        joined.extend_from_slice(raw.second);
        let taken = self.packet(&joined, raw.is_rtcp, now, out);
        self.joined = joined;
        taken
    }

    /// Takes a packet of RTP or RTCP. Errors: what ends the pull.
    pub fn packet(
        &mut self,
        packet: &[u8],
        is_rtcp: bool,
        now: Instant,
        out: &impl Fn(Message),
    ) -> Result<(), Failure> {
        if is_rtcp {
            for packet in rtcp::parse(packet) {
                if let rtcp::Packet::SenderReport { ntp, .. } = packet {
                    self.reception.sender_report(ntp, now);
                }
            }
            return Ok(());
        }
        let parsed =
            rtp::parse(packet).filter(|(header, _)| header.payload_type == self.payload_type);
        let Some((header, payload)) = parsed else {
            self.strange += 1;
            return Ok(());
        };
        self.packets += 1;
        if self
            .source
            .replace(header.ssrc)
            .is_some_and(|ssrc| ssrc != header.ssrc)
        {
            self.reorder = Reorder::new(self.patience);
        }
        let arrived = (!self.patience.is_zero()).then_some(now);
        self.reception
            .packet(header.ssrc, header.sequence, header.timestamp, arrived);
        if let Placed::Next { lost } = self.reorder.place(header.sequence, packet, now) {
            self.next(&header, payload, lost, now, out)?;
        }
        self.timeout(now, out)
    }

    /// Takes what waited for others, as far as they came or are given up.
    pub fn timeout(&mut self, now: Instant, out: &impl Fn(Message)) -> Result<(), Failure> {
        while let Some((lost, packet)) = self.reorder.pop(now) {
            if let Some((header, payload)) = rtp::parse(&packet) {
                self.next(&header, payload, lost, now, out)?;
            }
        }
        Ok(())
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.reorder.deadline()
    }

    /// The next packet in order.
    fn next(
        &mut self,
        header: &Header,
        payload: &[u8],
        lost: u32,
        now: Instant,
        out: &impl Fn(Message),
    ) -> Result<(), Failure> {
        let pictures = &mut self.pictures;
        pictures.lost(lost);
        let mut taken = Ok(());
        self.depacketizer.push(header, payload, lost > 0, |unit| {
            if taken.is_ok() {
                taken = pictures.take(&unit, now, &mut |message| out(message));
            }
        });
        taken
    }

    /// A receiver report for the camera.
    pub fn report(&mut self, now: Instant) -> Vec<u8> {
        self.reception.report(now)
    }

    /// When the last picture went out; None before the first.
    pub fn newest(&self) -> Option<Instant> {
        self.pictures.newest()
    }

    /// Why nothing was shown so far.
    pub fn unseen(&self) -> Failure {
        let Self {
            packets, strange, ..
        } = self;
        if *packets == 0 && *strange == 0 {
            Failure::new(Fault::NoMedia, "the session is up, but nothing comes")
        } else if *packets == 0 {
            let detail = format!(
                "{strange} packets came, none of them of payload type {}",
                self.payload_type
            );
            Failure::new(Fault::ProtocolError, detail)
        } else if self.depacketizer.foreign() == *packets {
            let detail = "payloads of no packetization mode that is understood (RFC 6184: 0 and 1)";
            Failure::new(Fault::ProtocolError, detail)
        } else {
            self.pictures.unseen()
        }
    }
}
