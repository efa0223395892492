//! Viewers who go over from one stream of a camera to another, in one session: the main and the sub.

use std::time::Instant;

use super::{Hub, Sent};
use crate::event::Event;
use crate::transmit::Transmit;

impl Hub {
    /// The viewer goes over to another stream with the next frame of it that lets him; back to the one that he is on
    /// gives that up. An event tells when it is done.
    pub fn switch(&mut self, id: u64, stream: u64) {
        let Some(viewer) = self.viewers.get_mut(id) else {
            return;
        };
        let before = viewer.target.take();
        if let Some(watched) = before.and_then(|stream| self.streams.get_mut(&stream)) {
            watched.arriving.retain(|arriving| *arriving != id);
        }
        if viewer.stream == stream {
            return;
        }
        let Some(watched) = self.streams.get_mut(&stream) else {
            return;
        };
        if viewer.media.is_none() {
            self.go_over(id, stream);
        } else {
            watched.arriving.push(id);
            viewer.target = Some(stream);
        }
    }

    /// Takes over whom the newest frame of the stream lets come.
    pub(super) fn arrive<T: Transmit>(&mut self, stream: u64, now: Instant, out: &mut T) {
        let Some(watched) = self.streams.get_mut(&stream) else {
            return;
        };
        let arriving = std::mem::take(&mut watched.arriving);
        let (came, waiting): (Vec<u64>, Vec<u64>) = arriving
            .into_iter()
            .partition(|id| self.comes(*id, stream, now));
        for id in &came {
            self.go_over(*id, stream);
        }
        if let Some(watched) = self.streams.get_mut(&stream) {
            watched.arriving = waiting;
        }
        for id in came {
            let Some(watched) = self.streams.get(&stream) else {
                return;
            };
            let newest = self
                .viewers
                .get_mut(id)
                .map(|viewer| viewer.newest(&watched.stream, now, out));
            if let Some(Some(wait)) = newest {
                self.behind.add(id, now + wait);
            }
        }
    }

    fn comes(&mut self, id: u64, stream: u64, now: Instant) -> bool {
        let Some(viewer) = self.viewers.get_mut(id) else {
            return false;
        };
        let (Some(from), Some(to)) = (self.streams.get(&viewer.stream), self.streams.get(&stream))
        else {
            return false;
        };
        match viewer.media.as_mut() {
            Some(media) => media.switch(stream, &from.stream, &to.stream, now),
            None => false,
        }
    }

    fn go_over(&mut self, id: u64, stream: u64) {
        let Some(place) = self.viewers.place(id) else {
            return;
        };
        let Some(viewer) = self.viewers.at_mut(place) else {
            return;
        };
        if let Some(watched) = self.streams.get_mut(&viewer.stream) {
            watched.viewers.retain(|at| *at != place);
            watched.sent_before.add(viewer);
        }
        viewer.sent_before = Sent::to(viewer);
        viewer.stream = stream;
        viewer.target = None;
        // What waited was of the other stream.
        self.behind.remove(id);
        if let Some(watched) = self.streams.get_mut(&stream) {
            watched.viewers.push(place);
        }
        self.events.push(Event::Switched { viewer: id, stream });
    }
}
