//! One viewer: its ICE state, its DTLS leftovers and, once the keys are there, its media. Pure; owned by the hub.

use std::time::{Duration, Instant};

use crate::address::TransportAddress;
use crate::hub::Sent;
use crate::ice::Ice;
use crate::media::{Media, Negotiated};
use crate::prefetch::prefetch;
use crate::stream::Stream;
use crate::transmit::Transmit;

/// Handshake datagrams of one viewer that are passed on; a handshake takes about six.
const MAX_HANDSHAKE: u32 = 200;
/// How often the last flight is sent again.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(50);

/// DTLS content types (RFC 6347, 4.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// All that is kept of a DTLS association once its keys are exported.
struct Leftovers {
    last_flight: Box<[u8]>,
    close_notify: Box<[u8]>,
    flight_sent: Option<Instant>,
}

pub struct Viewer {
    pub id: u64,
    pub stream: u64,
    /// The stream that he is to go over to.
    pub target: Option<u64>,
    /// Whether his network carries less than all of the stream, as was last told.
    pub strained: bool,
    /// Of streams that he watched before this one.
    pub sent_before: Sent,
    pub ice: Ice,
    pub media: Option<Media>,
    pub negotiated: Option<Negotiated>,
    leftovers: Option<Leftovers>,
    dtls_from: Option<TransportAddress>,
    handshake_datagrams: u32,
}

/// What to do with a DTLS datagram.
pub enum Dtls<'a> {
    /// Pass it to the handshake.
    Handshake,
    /// Answer with these bytes.
    Resend(&'a [u8]),
    Ignore,
}

impl Viewer {
    pub fn new(id: u64, stream: u64, ice: Ice, negotiated: Negotiated) -> Self {
        Self {
            id,
            stream,
            target: None,
            strained: false,
            sent_before: Sent::default(),
            ice,
            media: None,
            negotiated: Some(negotiated),
            leftovers: None,
            dtls_from: None,
            handshake_datagrams: 0,
        }
    }

    /// Where handshake datagrams go: to where the last one came from.
    pub fn dtls_address(&self) -> Option<TransportAddress> {
        self.dtls_from.or(self.ice.selected())
    }

    /// Takes a DTLS datagram from a proven address.
    pub fn dtls(&mut self, from: TransportAddress, datagram: &[u8], now: Instant) -> Dtls<'_> {
        let Some(leftovers) = &mut self.leftovers else {
            self.dtls_from = Some(from);
            self.handshake_datagrams += 1;
            return if self.handshake_datagrams <= MAX_HANDSHAKE {
                Dtls::Handshake
            } else {
                Dtls::Ignore
            };
        };
        match datagram.first() {
            Some(&HANDSHAKE) => {
                let due = leftovers
                    .flight_sent
                    .is_none_or(|at| now.saturating_duration_since(at) >= FLIGHT_INTERVAL);
                if !due {
                    return Dtls::Ignore;
                }
                leftovers.flight_sent = Some(now);
                Dtls::Resend(&leftovers.last_flight)
            }
            Some(&ALERT) => {
                self.ice.hint_of_close(now);
                Dtls::Ignore
            }
            _ => Dtls::Ignore,
        }
    }

    /// Has what `newest` needs come from memory meanwhile. Touches nothing of it.
    pub fn prefetch(&self) {
        self.ice.prefetch();
        prefetch(&self.media);
    }

    /// The newest frame of his stream. Returns how long to wait before he is brought further, if that is news.
    pub fn newest<T: Transmit>(
        &mut self,
        stream: &Stream,
        now: Instant,
        out: &mut T,
    ) -> Option<Duration> {
        let (media, to) = (self.media.as_mut()?, self.ice.selected()?);
        let behind = media.behind();
        media.frame(stream, to, now, out);
        (media.behind() && !behind).then(|| media.wait())
    }

    /// A connection of its is over. Returns whether media went by it and now waits for another way; who does not show
    /// himself again soon has left.
    pub fn disconnected(&mut self, from: TransportAddress, now: Instant) -> bool {
        self.dtls_from = self.dtls_from.filter(|address| *address != from);
        if !self.ice.forget(from) {
            return false;
        }
        self.ice.hint_of_close(now);
        self.media
            .as_mut()
            .is_some_and(|media| media.interrupt(now))
    }

    pub fn start(&mut self, media: Media, last_flight: Vec<u8>, close_notify: Vec<u8>) {
        self.media = Some(media);
        self.leftovers = Some(Leftovers {
            last_flight: last_flight.into_boxed_slice(),
            close_notify: close_notify.into_boxed_slice(),
            flight_sent: None,
        });
    }

    pub fn close_notify(&self) -> Option<&[u8]> {
        self.leftovers.as_ref().map(|l| &*l.close_notify)
    }
}
