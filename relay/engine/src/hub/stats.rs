//! What the hub tells of its streams and viewers.

use std::time::Instant;

use super::{Hub, Watched};
use crate::address::TransportAddress;
use crate::congestion::Share;
use crate::counters::{Counters, Dropped};
use crate::stream;
use crate::viewer::Viewer;

/// What the viewers of a stream were sent of it, those who left included.
#[derive(Default, Clone, Copy)]
pub struct Sent {
    pub packets: u64,
    pub bytes: u64,
    pub resent: u64,
    pub dropped: Dropped,
    pub pictures_requested: u64,
    pub pictures_resent: u64,
}

impl Sent {
    /// Of all streams that the viewer has watched.
    pub(super) fn to(viewer: &Viewer) -> Self {
        let Some(media) = &viewer.media else {
            return Self::default();
        };
        let counters = &media.counters;
        Self {
            packets: counters.packets_sent,
            bytes: counters.bytes_sent,
            resent: counters.packets_resent,
            dropped: counters.dropped,
            pictures_requested: counters.pictures_requested,
            pictures_resent: counters.pictures_resent,
        }
    }

    /// With what the viewer was sent of the stream that he watches now.
    pub(super) fn add(&mut self, viewer: &Viewer) {
        let (all, before) = (Self::to(viewer), &viewer.sent_before);
        self.packets += all.packets - before.packets;
        self.bytes += all.bytes - before.bytes;
        self.resent += all.resent - before.resent;
        self.dropped.late += all.dropped.late - before.dropped.late;
        self.dropped.thinned += all.dropped.thinned - before.dropped.thinned;
        self.pictures_requested += all.pictures_requested - before.pictures_requested;
        self.pictures_resent += all.pictures_resent - before.pictures_resent;
    }
}

pub struct StreamStats {
    pub stream: u64,
    pub viewers: usize,
    pub counters: stream::Counters,
    pub sent: Sent,
    pub last_frame: Option<Instant>,
}

pub struct ViewerStats {
    pub viewer: u64,
    pub stream: u64,
    pub address: Option<TransportAddress>,
    pub counters: Counters,
    /// None before its media has started.
    pub share: Option<Share>,
    /// Bits a second at which what waits is sent.
    pub pace: u64,
}

impl Hub {
    pub fn stream_stats(&self) -> Vec<StreamStats> {
        let stats = |(id, watched): (&u64, &Watched)| {
            let mut sent = watched.sent_before;
            let viewers = watched.viewers.iter().filter_map(|at| self.viewers.at(*at));
            viewers.for_each(|viewer| sent.add(viewer));
            StreamStats {
                stream: *id,
                viewers: watched.viewers.len(),
                counters: watched.stream.counters,
                sent,
                last_frame: watched.stream.newest().map(|f| f.arrived),
            }
        };
        self.streams.iter().map(stats).collect()
    }

    pub fn viewer_stats(&self) -> Vec<ViewerStats> {
        let stats = |viewer: &Viewer| ViewerStats {
            viewer: viewer.id,
            stream: viewer.stream,
            address: viewer.ice.selected(),
            counters: viewer
                .media
                .as_ref()
                .map(|m| m.counters)
                .unwrap_or_default(),
            share: viewer.media.as_ref().map(|m| m.share()),
            pace: viewer.media.as_ref().map_or(0, |m| m.pace()),
        };
        self.viewers.iter().map(stats).collect()
    }
}
