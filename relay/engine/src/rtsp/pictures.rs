//! Access units to what a stream takes: frames from the first key frame on, with the parameter sets in front of each
//! key frame whatever the camera does. Pure; driven by `rtsp`.

use std::time::{Duration, Instant};

use super::clock::Clock;
use super::depacketize::Unit;
use super::failure::Failure;
use super::parameters::ParameterSets;
use crate::event::{Fault, Video};
use crate::h264::{self, Packetized, nal_type};
use crate::hub::SourceFrame;
use crate::rtp::MAX_PAYLOAD;

/// Where the SPS leaves room for B-frames, so many pictures must come without one before any is shown, or this time go
/// by: no camera is called live whose next picture is refused.
const PROBATION: usize = 4;
const PROBATION_TIME: Duration = Duration::from_secs(1);

pub enum Message {
    /// The first key frame, with what the stream carries. A frame follows.
    Started(Video),
    Changed(Video),
    Frame {
        frame: SourceFrame,
        lost: u64,
    },
    Ended {
        fault: Fault,
        detail: String,
    },
}

/// What came before anything could be shown, to say why nothing was.
#[derive(Default)]
struct Seen {
    pictures: u64,
    damaged: u64,
    keys: u64,
    damaged_keys: u64,
}

/// Pictures that wait for those that prove them.
struct Probation {
    since: Instant,
    video: Video,
    frames: Vec<SourceFrame>,
}

#[derive(Default)]
pub struct Pictures {
    sets: ParameterSets,
    clock: Clock,
    /// Frames a second, as the session description has it.
    rate: Option<f64>,
    /// In use; empty before the first key frame.
    sps: Vec<u8>,
    probation: Option<Probation>,
    newest: Option<Instant>,
    lost: u64,
    seen: Seen,
}

impl Pictures {
    /// `sdp` is the session description, `payload_type` the format in it.
    pub fn new(sdp: &[u8], payload_type: u8, rate: Option<f64>) -> Self {
        let mut sets = ParameterSets::default();
        sets.learn_sdp(sdp, payload_type);
        Self {
            sets,
            rate,
            ..Self::default()
        }
    }

    /// When the last picture went out; None before the first.
    pub fn newest(&self) -> Option<Instant> {
        self.newest
    }

    /// Counts packets that will never come.
    pub fn lost(&mut self, packets: u32) {
        self.lost += u64::from(packets);
    }

    /// Takes the next access unit. Errors: what of this camera can never be shown.
    pub fn take(
        &mut self,
        unit: &Unit<'_>,
        now: Instant,
        out: &mut impl FnMut(Message),
    ) -> Result<(), Failure> {
        let timestamp = self.clock.place(unit.timestamp, now);
        let (mut slice, mut key) = (None, false);
        for nal in unit.nals() {
            match h264::nal_type(nal) {
                Some(nal_type::SPS | nal_type::PPS) => self.sets.learn(nal),
                Some(kind @ (nal_type::SLICE | nal_type::PARTITION_A | nal_type::IDR)) => {
                    if h264::is_b_slice(nal) == Some(true) {
                        let detail = "the camera encodes with B-frames";
                        return Err(Failure::new(Fault::BFrames, detail));
                    }
                    key |= kind == nal_type::IDR;
                    slice = slice.or(Some(nal));
                }
                _ => {}
            }
        }
        self.seen.pictures += 1;
        self.seen.damaged += u64::from(unit.damaged);
        self.seen.keys += u64::from(key);
        self.seen.damaged_keys += u64::from(key && unit.damaged);
        let packets = match slice.filter(|_| !unit.damaged) {
            Some(slice) if key => self.key_frame(unit, slice, now, out),
            Some(_) if !self.sps.is_empty() => Some(packetize(unit.nals())),
            _ => None,
        };
        if let Some(packets) = packets {
            let frame = SourceFrame {
                packets,
                timestamp,
                key,
                bytes: unit.bytes() as u64,
            };
            self.show(frame, now, out);
        }
        Ok(())
    }

    /// The packets of a key frame behind its parameter sets; None where they were not told.
    fn key_frame(
        &mut self,
        unit: &Unit<'_>,
        slice: &[u8],
        now: Instant,
        out: &mut impl FnMut(Message),
    ) -> Option<Packetized> {
        let active = self.sets.active(slice)?;
        let sets = std::iter::once(active.sps_nal).chain(active.pps_nals);
        let is_set =
            |nal: &&[u8]| matches!(h264::nal_type(nal), Some(nal_type::SPS | nal_type::PPS));
        let packets = packetize(sets.chain(unit.nals().filter(|nal| !is_set(nal))));
        if self.sps != active.sps_nal {
            let sps = active.sps;
            let video = Video {
                profile_level_id: sps.profile_level_id,
                width: sps.width,
                height: sps.height,
                fps: sps.fps.or(self.rate),
            };
            match &mut self.probation {
                Some(probation) => probation.video = video,
                None if self.sps.is_empty() && sps.may_reorder => {
                    self.probation = Some(Probation {
                        since: now,
                        video,
                        frames: Vec::new(),
                    });
                }
                None if self.sps.is_empty() => out(Message::Started(video)),
                None => out(Message::Changed(video)),
            }
            active.sps_nal.clone_into(&mut self.sps);
        }
        Some(packets)
    }

    fn show(&mut self, frame: SourceFrame, now: Instant, out: &mut impl FnMut(Message)) {
        let Some(mut probation) = self.probation.take() else {
            self.newest = Some(now);
            let lost = std::mem::take(&mut self.lost);
            out(Message::Frame { frame, lost });
            return;
        };
        probation.frames.push(frame);
        let proven = match probation.frames.len() {
            1 => false,
            pictures => pictures > PROBATION || now >= probation.since + PROBATION_TIME,
        };
        if !proven {
            self.probation = Some(probation);
            return;
        }
        out(Message::Started(probation.video));
        for frame in probation.frames {
            self.show(frame, now, out);
        }
    }

    /// Why nothing was shown so far.
    pub fn unseen(&self) -> Failure {
        let Seen {
            pictures,
            damaged,
            keys,
            damaged_keys,
        } = self.seen;
        if pictures == 0 || self.probation.is_some() {
            Failure::new(Fault::Stalled, "the session is up, but no picture came")
        } else if keys > damaged_keys {
            let detail = self.sets.unreadable.as_deref();
            Failure::new(
                Fault::NoParameterSets,
                detail.unwrap_or("no SPS or no PPS came"),
            )
        } else if keys > 0 || damaged > pictures / 10 {
            let detail = format!("no key frame came whole; {} packets are missing", self.lost);
            Failure::new(Fault::PacketLoss, detail)
        } else {
            let detail = format!("{pictures} pictures came, and no key frame (IDR)");
            Failure::new(Fault::NoKeyFrame, detail)
        }
    }
}

fn packetize<'a>(nals: impl Iterator<Item = &'a [u8]>) -> Packetized {
    let mut together = Vec::with_capacity(8);
    together.extend(nals);
    h264::packetize(&together, MAX_PAYLOAD)
}

#[cfg(test)]
mod tests;
