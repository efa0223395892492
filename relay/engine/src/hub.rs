//! The fan-out: streams, their viewers, and what each datagram and frame does to them.
//!
//! Driving contract: one caller, on one thread. Give it every datagram, frame and command with the time it happened,
//! call `timeout` at or after `deadline`, and take `events` after each call. It writes datagrams into the [`Transmit`]
//! it is given and never waits, reads a clock or touches a socket.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::address::TransportAddress;
use crate::congestion::Share;
use crate::demux::{self, Kind};
use crate::event::{EndReason, Event};
use crate::h264::Packetized;
use crate::ice::{Credentials, Ice, Retired};
use crate::media::{Media, Negotiated};
use crate::pacer;
use crate::srtp;
use crate::stream::Stream;
use crate::stun;
use crate::transmit::Transmit;
use crate::viewer::{Dtls, Viewer};

mod roster;
mod stats;
mod switching;
mod waiting;

use roster::{Place, Roster};
use waiting::Waiting;

pub use stats::{Sent, StreamStats, ViewerStats};

/// How often expiry and reports are looked at.
const SWEEP: Duration = Duration::from_millis(250);
/// Viewers whose memory is asked for while as many before them are served.
const AHEAD: usize = 4;

struct Watched {
    stream: Stream,
    viewers: Vec<Place>,
    /// Viewers of another stream who are to go over to this one.
    arriving: Vec<u64>,
    /// Of viewers that have left.
    sent_before: Sent,
}

/// SRTP master keys of both directions, from the DTLS exporter (RFC 5764, 4.2).
pub struct Keys {
    pub profile: srtp::Profile,
    pub send: (Vec<u8>, Vec<u8>),
    pub receive: (Vec<u8>, Vec<u8>),
}

/// What a viewer starts its media with.
pub struct Start {
    pub keys: Keys,
    pub last_flight: Vec<u8>,
    pub close_notify: Vec<u8>,
    /// Initial sequence number and timestamp offset.
    pub random: (u16, u32),
}

pub struct Hub {
    streams: HashMap<u64, Watched>,
    viewers: Roster,
    by_ufrag: HashMap<Box<str>, u64>,
    by_address: HashMap<TransportAddress, u64>,
    behind: Waiting,
    next_sweep: Instant,
    /// An instant and the NTP time it stands for.
    epoch: (Instant, u64),
    events: Vec<Event>,
    scratch: Vec<u8>,
    rejected: u64,
}

impl Hub {
    /// `ntp`: 32.32 fixed point NTP time of `now`.
    pub fn new(now: Instant, ntp: u64) -> Self {
        Self {
            streams: HashMap::new(),
            viewers: Roster::default(),
            by_ufrag: HashMap::new(),
            by_address: HashMap::new(),
            behind: Waiting::default(),
            next_sweep: now + SWEEP,
            epoch: (now, ntp),
            events: Vec::new(),
            scratch: Vec::new(),
            rejected: 0,
        }
    }

    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.events.drain(..)
    }

    pub fn event(&mut self, event: Event) {
        self.events.push(event);
    }

    /// When `timeout` is due at the latest.
    pub fn deadline(&self) -> Instant {
        let due = self.behind.due();
        due.map_or(self.next_sweep, |at| at.min(self.next_sweep))
    }

    pub fn open_stream(&mut self, id: u64) {
        self.streams.insert(
            id,
            Watched {
                stream: Stream::new(),
                viewers: Vec::new(),
                arriving: Vec::new(),
                sent_before: Sent::default(),
            },
        );
    }

    pub fn close_stream<T: Transmit>(&mut self, id: u64, now: Instant, out: &mut T) {
        let Some(watched) = self.streams.get(&id) else {
            return;
        };
        for viewer in &watched.arriving {
            if let Some(viewer) = self.viewers.get_mut(*viewer) {
                viewer.target = None;
            }
        }
        let viewers: Vec<u64> = self.viewers.ids(&watched.viewers).collect();
        for viewer in viewers {
            self.remove_viewer(viewer, now, out);
            self.events.push(Event::ViewerEnded {
                viewer,
                reason: EndReason::StreamClosed,
            });
        }
        self.streams.remove(&id);
    }

    /// Whether somebody watches the stream, or is about to.
    pub fn watched(&self, id: u64) -> bool {
        let watched = self.streams.get(&id);
        watched.is_some_and(|w| !w.viewers.is_empty() || !w.arriving.is_empty())
    }

    /// A new pull feeds the stream: its timestamps go on from where the old one's ended.
    pub fn rebase(&mut self, id: u64) {
        if let Some(watched) = self.streams.get_mut(&id) {
            watched.stream.rebase();
        }
    }

    pub fn lost(&mut self, id: u64, packets: u64) {
        if let Some(watched) = self.streams.get_mut(&id) {
            watched.stream.counters.packets_lost += packets;
        }
    }

    /// A frame of a stream: kept, and sent to every viewer at the live edge.
    pub fn frame<T: Transmit>(&mut self, id: u64, frame: SourceFrame, now: Instant, out: &mut T) {
        let Some(watched) = self.streams.get_mut(&id) else {
            return;
        };
        if frame.packets.ends.is_empty() {
            return;
        }
        watched.stream.counters.bytes += frame.bytes;
        watched
            .stream
            .push(frame.packets, frame.timestamp, frame.key, now);
        let mut next = watched.viewers.chunks(AHEAD).skip(1);
        for some in watched.viewers.chunks(AHEAD) {
            self.viewers.prefetch(next.next().unwrap_or_default());
            for place in some {
                let Some(viewer) = self.viewers.at_mut(*place) else {
                    continue;
                };
                if let Some(wait) = viewer.newest(&watched.stream, now, out) {
                    self.behind.add(viewer.id, now + wait);
                }
            }
        }
        if !watched.arriving.is_empty() {
            self.arrive(id, now, out);
        }
    }

    /// Admits a viewer; where its stream is gone, an event says so.
    pub fn add_viewer(
        &mut self,
        id: u64,
        stream: u64,
        ice: Ice,
        negotiated: Negotiated,
        now: Instant,
    ) {
        let Some(watched) = self.streams.get_mut(&stream) else {
            self.events.push(Event::ViewerEnded {
                viewer: id,
                reason: EndReason::StreamClosed,
            });
            return;
        };
        for ufrag in ice.local_ufrags() {
            self.by_ufrag.insert(ufrag.into(), id);
        }
        let viewer = Viewer::new(id, stream, ice, negotiated);
        watched.viewers.push(self.viewers.insert(viewer));
        self.next_sweep = self.next_sweep.min(now + SWEEP);
    }

    /// The viewer may show himself under new credentials from now on (RFC 8445, 9); media goes on meanwhile.
    pub fn restart_ice<T: Transmit>(&mut self, id: u64, new: &Credentials, out: &mut T) {
        let Some(viewer) = self.viewers.get_mut(id) else {
            return;
        };
        let retired = viewer.ice.restart(new);
        self.retire(id, retired, out);
        self.by_ufrag.insert(new.local_ufrag.as_str().into(), id);
    }

    fn retire<T: Transmit>(&mut self, id: u64, retired: Retired, out: &mut T) {
        for address in retired.addresses {
            // It may be another viewer's by now.
            if self.by_address.get(&address) == Some(&id) {
                self.by_address.remove(&address);
                out.close(address);
            }
        }
        if let Some(ufrag) = retired.ufrag {
            self.by_ufrag.remove(&ufrag);
        }
    }

    /// Says goodbye (BYE, close_notify) and forgets the viewer.
    pub fn remove_viewer<T: Transmit>(&mut self, id: u64, now: Instant, out: &mut T) {
        let ntp = self.ntp(now);
        let Some((place, mut viewer)) = self.viewers.remove(id) else {
            return;
        };
        for ufrag in viewer.ice.local_ufrags() {
            self.by_ufrag.remove(ufrag);
        }
        if let Some(watched) = viewer.target.and_then(|id| self.streams.get_mut(&id)) {
            watched.arriving.retain(|v| *v != id);
        }
        if let Some(watched) = self.streams.get_mut(&viewer.stream) {
            watched.viewers.retain(|at| *at != place);
            watched.sent_before.add(&viewer);
            if let (Some(to), Some(media)) = (viewer.ice.selected(), viewer.media.as_mut()) {
                if let Some(packet) = media.bye(&watched.stream, ntp, now) {
                    out.datagram(to, &packet);
                }
                if let Some(packet) = viewer.close_notify() {
                    out.datagram(to, packet);
                }
            }
        }
        for address in viewer.ice.proven() {
            if self.by_address.get(address) == Some(&id) {
                self.by_address.remove(address);
                out.close(*address);
            }
        }
    }

    /// Whether the address is a viewer's.
    pub fn proves(&self, address: TransportAddress) -> bool {
        self.by_address.contains_key(&address)
    }

    /// A connection is over, by its peer or by itself.
    pub fn disconnected(&mut self, from: TransportAddress, now: Instant) {
        let Some(id) = self.by_address.remove(&from) else {
            return;
        };
        let viewer = self.viewers.get_mut(id);
        if viewer.is_some_and(|viewer| viewer.disconnected(from, now)) {
            self.behind.add(id, now + pacer::TICK);
        }
    }

    /// Sends a handshake datagram to where the viewer's last one came from.
    pub fn send_dtls<T: Transmit>(&mut self, id: u64, datagram: &[u8], out: &mut T) {
        let to = self.viewers.get(id).and_then(Viewer::dtls_address);
        if let Some(to) = to.filter(|_| !datagram.is_empty()) {
            out.datagram(to, datagram);
        }
    }

    /// The handshake is done: the burst starts. Errors: keys that do not fit their profile.
    pub fn start_media<T: Transmit>(
        &mut self,
        id: u64,
        start: Start,
        now: Instant,
        out: &mut T,
    ) -> Result<(), srtp::KeyError> {
        let Some(viewer) = self.viewers.get_mut(id) else {
            return Ok(());
        };
        let Some(watched) = self.streams.get(&viewer.stream) else {
            return Ok(());
        };
        let keys = &start.keys;
        let sender = srtp::Sender::new(keys.profile, &keys.send.0, &keys.send.1)?;
        let receiver = srtp::Receiver::new(keys.profile, &keys.receive.0, &keys.receive.1)?;
        // Taken, so that a second call cannot seal under the same keys from the start again.
        let Some(negotiated) = viewer.negotiated.take() else {
            return Ok(());
        };
        let media = Media::new(
            &negotiated,
            sender,
            receiver,
            start.random,
            (viewer.stream, &watched.stream),
            now,
        );
        viewer.start(media, start.last_flight, start.close_notify);
        self.behind.add(id, now);
        self.catch_up(now, out);
        Ok(())
    }

    /// Brings those that are behind further.
    fn catch_up<T: Transmit>(&mut self, now: Instant, out: &mut T) {
        let (viewers, streams) = (&mut self.viewers, &self.streams);
        self.behind.each(|id| {
            let viewer = viewers.get_mut(id)?;
            let watched = streams.get(&viewer.stream)?;
            let media = viewer.media.as_mut()?;
            if let Some(to) = viewer.ice.selected() {
                media.catch_up(&watched.stream, to, now, out);
            }
            media.behind().then(|| now + media.wait())
        });
    }

    /// What `deadline` was about: what waits, reports, expiry.
    pub fn timeout<T: Transmit>(&mut self, now: Instant, out: &mut T) {
        if self.behind.due().is_some_and(|at| at <= now) {
            self.catch_up(now, out);
        }
        if self.next_sweep > now {
            return;
        }
        self.next_sweep = now + SWEEP;
        let ntp = self.ntp(now);
        let mut expired = Vec::new();
        for viewer in self.viewers.iter_mut() {
            if viewer.ice.expires() <= now {
                expired.push(viewer.id);
                continue;
            }
            let (Some(media), Some(to)) = (viewer.media.as_mut(), viewer.ice.selected()) else {
                continue;
            };
            let strained = media.share() != Share::Everything;
            if strained != viewer.strained {
                viewer.strained = strained;
                self.events.push(Event::Strained {
                    viewer: viewer.id,
                    strained,
                });
            }
            if media.next_report() > now {
                continue;
            }
            let Some(watched) = self.streams.get(&viewer.stream) else {
                continue;
            };
            if let Some(packet) = media.report(&watched.stream, ntp, now) {
                out.datagram(to, &packet);
            }
        }
        for id in expired {
            self.remove_viewer(id, now, out);
            self.events.push(Event::ViewerEnded {
                viewer: id,
                reason: EndReason::Expired,
            });
        }
    }

    /// A datagram off the socket; sealed RTCP is opened in place.
    pub fn datagram<T: Transmit>(
        &mut self,
        from: TransportAddress,
        datagram: &mut [u8],
        now: Instant,
        out: &mut T,
    ) {
        let taken = match demux::classify(datagram) {
            Kind::Stun => self.stun(from, datagram, now, out),
            Kind::Dtls => self.dtls(from, datagram, now, out),
            Kind::Rtcp => self.rtcp(from, datagram, now, out),
            Kind::Rtp | Kind::Other => None,
        };
        if taken.is_none() {
            self.rejected += 1;
        }
    }

    fn stun<T: Transmit>(
        &mut self,
        from: TransportAddress,
        datagram: &[u8],
        now: Instant,
        out: &mut T,
    ) -> Option<()> {
        let request = stun::parse(datagram)
            .ok()
            .filter(|m| m.class == stun::Class::Request)?;
        let id = *self.by_ufrag.get(request.ufrags()?.0)?;
        let viewer = self.viewers.get_mut(id)?;
        let of = viewer.ice.authenticates(&request)?;
        let mut retired = Retired::default();
        self.scratch.clear();
        let transaction = request.transaction_id;
        if request.unknown_required().next().is_some() {
            stun::unknown_attributes(
                transaction,
                request.unknown_required(),
                viewer.ice.key(of),
                &mut self.scratch,
            );
        } else if request.ice_controlled.is_some() {
            // RFC 8445, 7.3.1.1: a lite agent is always the controlled one.
            stun::error(
                transaction,
                487,
                "Role Conflict",
                Some(viewer.ice.key(of)),
                &mut self.scratch,
            );
        } else {
            stun::success(
                transaction,
                from.socket,
                viewer.ice.key(of),
                &mut self.scratch,
            );
            retired = viewer.ice.accept(from, of, request.use_candidate, now);
            self.by_address.insert(from, id);
        }
        self.retire(id, retired, out);
        out.datagram(from, &self.scratch);
        Some(())
    }

    fn dtls<T: Transmit>(
        &mut self,
        from: TransportAddress,
        datagram: &[u8],
        now: Instant,
        out: &mut T,
    ) -> Option<()> {
        let id = *self.by_address.get(&from)?;
        match self.viewers.get_mut(id)?.dtls(from, datagram, now) {
            Dtls::Handshake => self.events.push(Event::Dtls {
                viewer: id,
                datagram: datagram.to_vec(),
            }),
            Dtls::Resend(flight) => out.datagram(from, flight),
            Dtls::Ignore => {}
        }
        Some(())
    }

    fn rtcp<T: Transmit>(
        &mut self,
        from: TransportAddress,
        datagram: &mut [u8],
        now: Instant,
        out: &mut T,
    ) -> Option<()> {
        let id = *self.by_address.get(&from)?;
        let ntp_middle = (self.ntp(now) >> 16) as u32;
        let viewer = self.viewers.get_mut(id)?;
        let (media, to) = (viewer.media.as_mut()?, viewer.ice.selected()?);
        let stream = &self.streams.get(&viewer.stream)?.stream;
        self.scratch.clear();
        self.scratch
            .extend_from_slice(media.open_rtcp(datagram).ok()?);
        let before = media.stream_before().and_then(|id| self.streams.get(&id));
        let streams = (stream, before.map(|watched| &watched.stream));
        media.feedback(&self.scratch, streams, ntp_middle, to, now, out);
        Some(())
    }

    fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch.0);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        self.epoch
            .1
            .wrapping_add((since.as_secs() << 32) + fraction)
    }

    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

/// A frame as it comes from a camera, packetised.
pub struct SourceFrame {
    pub packets: Packetized,
    /// The source's own clock, 90 kHz, extended to 64 bits.
    pub timestamp: i64,
    pub key: bool,
    /// Of H.264, before packetising.
    pub bytes: u64,
}
