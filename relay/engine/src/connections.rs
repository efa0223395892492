//! The viewers' TCP connections (ICE-TCP, passive: RFC 6544): who is let in, and what waits to be sent on each.
//!
//! Owned by `engine`, whose tasks read from the connections and end them; what the hub sends is gathered here and goes
//! out in one write a viewer and flush. Nobody is waited for: what a connection does not take is kept up to a bound and
//! beyond it dropped and counted; the hub sees what is kept, and leaves out frames before that comes to pass.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::address::{ConnectionId, Protocol, TransportAddress};
use crate::framing::{PREFIX, prefix};
use crate::socket::Outbox;
use crate::transmit::Transmit;

/// Connections at once. A viewer whom UDP reaches may hold one beside it.
const MAX_OPEN: usize = 4096;
/// Those that have not shown yet that they are a viewer's: of all, and of one address. A wall of a hundred tiles opens
/// so many at a time, and a centre behind one address has several walls.
const MAX_STRANGERS: usize = 1024;
const MAX_STRANGERS_OF_ONE: u32 = 256;
/// What may wait on one connection, in bytes. A viewer at the live edge is not sent as much: see `media`.
const MAX_UNSENT: usize = 2 << 20;
/// What the kernel takes beyond what the peer's window and the network let go at once. The rest waits here, where it is
/// seen; its own buffers would hold seconds of a slow viewer's pictures.
const NOTSENT_LOWAT: u32 = 16 << 10;
/// Bytes gathered before they are sent: stays in the second-level cache.
const STAGING: usize = 256 << 10;

/// What `engine`'s task of a connection and this table share.
pub struct Connection {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// Something waits to be sent, or the connection is to end.
    pub stirred: Notify,
}

struct Open {
    connection: Rc<Connection>,
    /// Framed bytes that the kernel has not taken.
    unsent: VecDeque<u8>,
    closing: bool,
}

#[derive(Default)]
struct Slot {
    turn: u32,
    open: Option<Open>,
}

/// A message between two flushes: room for the prefixes of its segments and of its last one, then its bytes.
struct Message {
    to: ConnectionId,
    start: usize,
    len: usize,
    segment: usize,
}

#[derive(Default)]
pub struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    strangers: Strangers,
    staging: Vec<u8>,
    messages: Vec<Message>,
    dropped: u64,
}

impl Connections {
    /// Lets a connection in; None where there are too many, and then it is to be dropped.
    pub fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<ConnectionId> {
        let tuned = SockRef::from(&stream);
        tuned.set_tcp_nodelay(true).ok()?;
        tuned.set_tcp_notsent_lowat(NOTSENT_LOWAT).ok()?;
        if self.len() >= MAX_OPEN || !self.strangers.has_room(peer.ip()) {
            return None;
        }
        if let Some(oldest) = self.strangers.surplus() {
            self.strangers.leave(oldest);
            self.end(oldest);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = self.slots.get_mut(slot as usize)?;
        place.turn = place.turn.wrapping_add(1);
        let id = ConnectionId {
            slot,
            turn: place.turn,
        };
        place.open = Some(Open {
            connection: Rc::new(Connection {
                stream,
                peer,
                stirred: Notify::new(),
            }),
            unsent: VecDeque::new(),
            closing: false,
        });
        self.strangers.come(id, peer.ip());
        Some(id)
    }

    /// A connection that is not to end.
    pub fn get(&self, id: ConnectionId) -> Option<&Rc<Connection>> {
        let open = self.open(id).filter(|open| !open.closing)?;
        Some(&open.connection)
    }

    /// It is a viewer's.
    pub fn prove(&mut self, id: ConnectionId) {
        self.strangers.leave(id);
    }

    /// The connection is over.
    pub fn remove(&mut self, id: ConnectionId) {
        self.strangers.leave(id);
        if let Some(place) = self.slots.get_mut(id.slot as usize)
            && place.turn == id.turn
            && place.open.take().is_some()
        {
            self.free.push(id.slot);
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Datagrams that were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn unsent(&self, id: ConnectionId) -> usize {
        self.open(id).map_or(0, |open| open.unsent.len())
    }

    fn open(&self, id: ConnectionId) -> Option<&Open> {
        let place = self.slots.get(id.slot as usize)?;
        place.open.as_ref().filter(|_| place.turn == id.turn)
    }

    fn open_mut(&mut self, id: ConnectionId) -> Option<&mut Open> {
        let place = self.slots.get_mut(id.slot as usize)?;
        place.open.as_mut().filter(|_| place.turn == id.turn)
    }

    /// Asks the connection's task to end it.
    fn end(&mut self, id: ConnectionId) {
        if let Some(open) = self.open_mut(id) {
            open.closing = true;
            open.connection.stirred.notify_one();
        }
    }

    fn message(&mut self, to: ConnectionId, segment: usize, len: usize) -> &mut [u8] {
        if self.staging.len() + len > STAGING {
            self.flush();
        }
        let segment = segment.max(1);
        let start = self.staging.len();
        let last = len - (len.div_ceil(segment).max(1) - 1) * segment;
        self.staging.extend_from_slice(&prefix(segment));
        self.staging.extend_from_slice(&prefix(last));
        self.staging.resize(start + 2 * PREFIX + len, 0);
        self.messages.push(Message {
            to,
            start,
            len,
            segment,
        });
        &mut self.staging[start + 2 * PREFIX..]
    }

    /// Sends all that is gathered, as far as the kernel takes it.
    pub fn flush(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let messages = std::mem::take(&mut self.messages);
        let staging = std::mem::take(&mut self.staging);
        for run in messages.chunk_by(|a, b| a.to == b.to) {
            let Some(to) = run.first().map(|message| message.to) else {
                continue;
            };
            let lost = self.open_mut(to).map_or_else(
                || run.iter().map(Message::segments).sum(),
                |open| open.send(run, &staging),
            );
            self.dropped += lost;
        }
        self.messages = messages;
        self.messages.clear();
        self.staging = staging;
        self.staging.clear();
    }

    /// Goes on with what waits on a connection. Errors: the connection is broken.
    pub fn flush_unsent(&mut self, id: ConnectionId) -> io::Result<()> {
        self.open_mut(id).map_or(Ok(()), Open::flush)
    }
}

impl Message {
    fn segments(&self) -> u64 {
        self.len.div_ceil(self.segment) as u64
    }

    /// Its bytes as they go over the wire, each segment behind its prefix.
    fn frames<'a>(&self, staging: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (prefixes, data) =
            staging[self.start..self.start + 2 * PREFIX + self.len].split_at(2 * PREFIX);
        let (usual, last) = prefixes.split_at(PREFIX);
        let segments = data.chunks(self.segment);
        let count = segments.len();
        segments
            .enumerate()
            .flat_map(move |(i, segment)| [if i + 1 == count { last } else { usual }, segment])
    }

    fn framed_len(&self) -> usize {
        self.len + PREFIX * self.segments() as usize
    }
}

impl Open {
    /// Sends messages, or has them wait. Returns how many datagrams were dropped.
    fn send(&mut self, run: &[Message], staging: &[u8]) -> u64 {
        let mut written = 0;
        if self.unsent.is_empty() {
            let slices: Vec<IoSlice<'_>> = run
                .iter()
                .flat_map(|m| m.frames(staging))
                .map(IoSlice::new)
                .collect();
            // What is broken is seen where it is read from.
            written = self
                .connection
                .stream
                .try_write_vectored(&slices)
                .unwrap_or(0);
        }
        let mut lost = 0;
        for message in run {
            let len = message.framed_len();
            if written >= len {
                written -= len;
            } else if self.unsent.len() + len > MAX_UNSENT {
                // None that was sent in part: before such a one nothing waits.
                lost += message.segments();
            } else {
                for piece in message.frames(staging) {
                    let sent = written.min(piece.len());
                    written -= sent;
                    self.unsent.extend(&piece[sent..]);
                }
            }
        }
        if !self.unsent.is_empty() {
            self.connection.stirred.notify_one();
        }
        lost
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            let (front, back) = self.unsent.as_slices();
            let slices = [IoSlice::new(front), IoSlice::new(back)];
            match self.connection.stream.try_write_vectored(&slices) {
                Ok(written) => {
                    self.unsent.drain(..written);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        // At rest a connection keeps no room.
        self.unsent = VecDeque::new();
        Ok(())
    }
}

/// Connections that may be anybody's, bounded in number: of one address the next is refused, of all the oldest goes, so
/// that who holds many from many addresses keeps nobody out who is quick to show who he is.
#[derive(Default)]
struct Strangers {
    /// Oldest first.
    all: VecDeque<(ConnectionId, IpAddr)>,
    by_source: HashMap<IpAddr, u32>,
}

impl Strangers {
    fn has_room(&self, from: IpAddr) -> bool {
        let held = self.by_source.get(&source(from));
        held.is_none_or(|held| *held < MAX_STRANGERS_OF_ONE)
    }

    /// Who has to make room for the next.
    fn surplus(&self) -> Option<ConnectionId> {
        let full = self.all.len() >= MAX_STRANGERS;
        self.all.front().filter(|_| full).map(|(id, _)| *id)
    }

    fn come(&mut self, id: ConnectionId, from: IpAddr) {
        self.all.push_back((id, source(from)));
        *self.by_source.entry(source(from)).or_default() += 1;
    }

    fn leave(&mut self, id: ConnectionId) {
        let found = self.all.iter().position(|(held, _)| *held == id);
        let Some((_, from)) = found.and_then(|at| self.all.remove(at)) else {
            return;
        };
        if let Some(held) = self.by_source.get_mut(&from) {
            *held -= 1;
            if *held == 0 {
                self.by_source.remove(&from);
            }
        }
    }
}

/// Who has one IPv6 address has all of its /64.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Both ways out of the relay.
pub struct Paths {
    pub udp: Outbox,
    pub tcp: Connections,
}

impl Paths {
    pub fn new(udp: Outbox) -> Self {
        Self {
            udp,
            tcp: Connections::default(),
        }
    }

    pub fn flush(&mut self) {
        self.udp.flush();
        self.tcp.flush();
    }

    pub fn dropped(&self) -> u64 {
        self.udp.dropped() + self.tcp.dropped()
    }
}

impl Transmit for Paths {
    fn message(&mut self, to: TransportAddress, segment: usize, len: usize) -> &mut [u8] {
        match to.protocol {
            Protocol::Udp => self.udp.message(to.socket, segment, len),
            Protocol::Tcp(id) => self.tcp.message(id, segment, len),
        }
    }

    fn unsent(&self, to: TransportAddress) -> usize {
        match to.protocol {
            Protocol::Udp => 0,
            Protocol::Tcp(id) => self.tcp.unsent(id),
        }
    }

    fn close(&mut self, to: TransportAddress) {
        if let Protocol::Tcp(id) = to.protocol {
            self.tcp.flush();
            self.tcp.end(id);
        }
    }
}

#[cfg(test)]
mod tests;
