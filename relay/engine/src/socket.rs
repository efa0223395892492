//! The relay's one UDP socket: receives with recvmmsg, sends batches of UDP_SEGMENT messages with sendmmsg. Beside it,
//! on the same port, the socket that ICE-TCP comes in by.
//!
//! Non-blocking; the engine's loop waits for readability. What the kernel will not take after a short wait is dropped
//! and counted: the source never waits for a viewer.

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

mod offload;

use offload::Offload;

const RECEIVE_BATCH: usize = 32;
/// The largest datagram taken: DTLS flights and STUN are well below; a longer one arrives cut and fails to parse.
const RECEIVE_SIZE: usize = 2048;
const SEND_BATCH: usize = 64;
/// Bytes of a send batch: stays in the second-level cache, beside what the kernel makes of it.
const SEND_BYTES: usize = 128 << 10;
const BUFFER: usize = 4 << 20;
const BACKLOG: libc::c_int = 1024;
/// How long a full send buffer is waited for, in milliseconds, before the rest of the batch is dropped.
const PATIENCE_MS: libc::c_int = 2;
/// Room for one control message of two bytes, which takes 24.
const CONTROL: usize = 32;

/// Binds a UDP socket; an IPv6 wildcard takes IPv4 as well, and IPv4 alone on a host that has no IPv6.
pub fn bind(address: SocketAddr) -> io::Result<Socket> {
    let (socket, address) = open(address, Type::DGRAM, Protocol::UDP)?;
    // Best effort: the kernel caps these at net.core.{r,w}mem_max.
    let _ = socket.set_send_buffer_size(BUFFER);
    let _ = socket.set_recv_buffer_size(BUFFER);
    leave_mtu_to_routers(&socket);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Routers cut what their next link does not carry, and what anybody says of a viewer's path by ICMP changes nothing: with
/// "don't fragment" set, as is usual, packets would be lost on such a path, and no segmented send would be taken for it.
/// Holds for IPv4, over a socket of both families too; over IPv6 all links carry our packets. Best effort.
fn leave_mtu_to_routers(socket: &Socket) {
    let option = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    set_option(socket.as_fd(), option, libc::IP_PMTUDISC_OMIT);
}

/// Has the kernel tell of no fewer bytes than these, save at the end. Best effort.
pub fn set_low_water(connection: BorrowedFd<'_>, bytes: usize) {
    let option = (libc::SOL_SOCKET, libc::SO_RCVLOWAT);
    set_option(connection, option, bytes as libc::c_int);
}

/// Level and name of the option, and its value. Best effort.
fn set_option(
    socket: BorrowedFd<'_>,
    (level, name): (libc::c_int, libc::c_int),
    value: libc::c_int,
) {
    // SAFETY: a live integer of the length given with it.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
}

/// Listens for TCP at the address that a UDP socket was bound to: on its port, else, where somebody has that, on any.
pub fn listen(udp: SocketAddr) -> io::Result<Socket> {
    let at = |port| {
        let (socket, address) = open(SocketAddr::new(udp.ip(), port), Type::STREAM, Protocol::TCP)?;
        // Connections of the process before are not waited for.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket)
    };
    at(udp.port()).or_else(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => at(0),
        _ => Err(error),
    })
}

/// A socket, and the address to bind it to.
fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<(Socket, SocketAddr)> {
    let wildcard = address.ip().is_unspecified();
    match Socket::new(Domain::for_address(address), kind, Some(protocol)) {
        Ok(socket) => {
            if address.is_ipv6() {
                socket.set_only_v6(!wildcard)?;
            }
            Ok((socket, address))
        }
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.is_ipv6() && wildcard => {
            let address = SocketAddr::from(([0; 4], address.port()));
            Ok((Socket::new(Domain::IPV4, kind, Some(protocol))?, address))
        }
        Err(e) => Err(e),
    }
}

/// Whether datagrams still wait in the socket.
#[derive(PartialEq, Eq, Debug)]
pub enum More {
    Perhaps,
    No,
}

/// Buffers for receiving.
pub struct Inbox {
    data: Box<[[u8; RECEIVE_SIZE]]>,
    addresses: Box<[SockAddrStorage]>,
}

impl Default for Inbox {
    fn default() -> Self {
        Self {
            data: vec![[0; RECEIVE_SIZE]; RECEIVE_BATCH].into_boxed_slice(),
            addresses: (0..RECEIVE_BATCH)
                .map(|_| SockAddrStorage::zeroed())
                .collect(),
        }
    }
}

impl Inbox {
    /// Receives what is there, at most a batch, and hands each datagram to `take`.
    pub fn receive(
        &mut self,
        fd: RawFd,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<More> {
        // SAFETY: iovec, mmsghdr are plain data; zero is a valid value of each.
        let mut vectors: [libc::iovec; RECEIVE_BATCH] = unsafe { zeroed() };
        let mut headers: [libc::mmsghdr; RECEIVE_BATCH] = unsafe { zeroed() };
        for i in 0..RECEIVE_BATCH {
            vectors[i] = libc::iovec {
                iov_base: self.data[i].as_mut_ptr().cast(),
                iov_len: RECEIVE_SIZE,
            };
            let header = &mut headers[i].msg_hdr;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.addresses[i]).cast();
            header.msg_namelen = size_of::<SockAddrStorage>() as libc::socklen_t;
        }
        // SAFETY: every pointer in `headers` outlives the call and covers the length given with it.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                RECEIVE_BATCH as u32,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock => Ok(More::No),
                _ => Err(error),
            };
        }
        let count = count as usize;
        for (i, header) in headers[..count].iter().enumerate() {
            let (header, len) = (&header.msg_hdr, header.msg_len as usize);
            if header.msg_flags & libc::MSG_TRUNC != 0 {
                continue;
            }
            // SAFETY: the kernel wrote an address of `msg_namelen` bytes into this storage.
            let from = unsafe {
                SockAddr::new(ptr::read(&raw const self.addresses[i]), header.msg_namelen)
            };
            if let Some(from) = from.as_socket() {
                take(canonical(from), &mut self.data[i][..len.min(RECEIVE_SIZE)]);
            }
        }
        Ok(match count < RECEIVE_BATCH {
            true => More::No,
            false => More::Perhaps,
        })
    }
}

/// An IPv4 address that came in over an IPv6 socket, as what it is.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// An address as the kernel takes it, in no more bytes than it needs.
enum Name {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl Name {
    fn new(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }

    fn raw(&self) -> (*const libc::c_void, usize) {
        match self {
            Self::V4(v4) => ((&raw const *v4).cast(), size_of_val(v4)),
            Self::V6(v6) => ((&raw const *v6).cast(), size_of_val(v6)),
        }
    }
}

struct Message {
    to: Name,
    start: usize,
    len: usize,
    segment: usize,
}

impl Message {
    fn datagram<'a>(&'a self, buffer: &'a [u8]) -> Datagram<'a> {
        Datagram {
            to: &self.to,
            data: &buffer[self.start..self.start + self.len],
            segment: self.segment,
        }
    }

    fn is_segmented(&self) -> bool {
        self.len > self.segment
    }

    /// How many datagrams it is.
    fn segments(&self) -> u64 {
        self.len.div_ceil(self.segment) as u64
    }
}

/// Messages gathered in one buffer, sent together.
pub struct Outbox {
    fd: RawFd,
    ipv6: bool,
    buffer: Box<[u8]>,
    used: usize,
    messages: Vec<Message>,
    offload: Offload,
    dropped: u64,
}

impl Outbox {
    pub fn new(socket: &Socket) -> io::Result<Self> {
        Ok(Self {
            fd: socket.as_raw_fd(),
            ipv6: socket.local_addr()?.is_ipv6(),
            buffer: vec![0; SEND_BYTES].into_boxed_slice(),
            used: 0,
            messages: Vec::with_capacity(SEND_BATCH),
            offload: Offload::default(),
            dropped: 0,
        })
    }

    /// Datagrams that were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn gso(&self) -> bool {
        self.offload.asked()
    }

    /// Sends all that is gathered.
    pub fn flush(&mut self) {
        let mut done = 0;
        while done < self.messages.len() {
            if self.offload.asked() {
                done += self.send(done);
            } else {
                self.offload.spared();
                self.send_split(done);
                done += 1;
            }
        }
        self.messages.clear();
        self.used = 0;
    }

    /// Sends messages from `first` on; returns how many are done with, sent or dropped.
    fn send(&mut self, first: usize) -> usize {
        let messages = &self.messages[first..];
        let datagrams = messages.iter().map(|m| m.datagram(&self.buffer));
        match send_batch(self.fd, datagrams) {
            Ok(sent) => {
                if messages[..sent].iter().any(Message::is_segmented) {
                    self.offload.taken();
                }
                sent
            }
            Err(e) if offload::refuses(&e) && messages[0].is_segmented() => {
                self.offload.refused();
                self.send_split(first);
                1
            }
            Err(e) => {
                let lost = if e.kind() == io::ErrorKind::WouldBlock {
                    messages
                } else {
                    &messages[..1]
                };
                self.dropped += lost.iter().map(Message::segments).sum::<u64>();
                lost.len()
            }
        }
    }

    /// Sends one message datagram by datagram.
    fn send_split(&mut self, index: usize) {
        let message = &self.messages[index];
        let whole = message.datagram(&self.buffer);
        let mut rest = whole.data;
        while !rest.is_empty() {
            let datagrams = rest
                .chunks(message.segment)
                .map(|data| Datagram { data, ..whole });
            match send_batch(self.fd, datagrams) {
                Ok(sent) => rest = &rest[rest.len().min(sent * message.segment)..],
                Err(_) => {
                    self.dropped += rest.len().div_ceil(message.segment) as u64;
                    return;
                }
            }
        }
    }
}

impl Outbox {
    /// Room for a message, as `Transmit::message` has it.
    pub fn message(&mut self, to: SocketAddr, segment: usize, len: usize) -> &mut [u8] {
        if self.messages.len() == SEND_BATCH || self.used + len > SEND_BYTES {
            self.flush();
        }
        let to = match to {
            SocketAddr::V4(v4) if self.ipv6 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            to => to,
        };
        let start = self.used;
        self.used += len;
        self.messages.push(Message {
            to: Name::new(to),
            start,
            len,
            segment: segment.max(1),
        });
        &mut self.buffer[start..start + len]
    }
}

/// Bytes to one peer, cut into segments where they are more than one.
#[derive(Clone, Copy)]
struct Datagram<'a> {
    to: &'a Name,
    data: &'a [u8],
    segment: usize,
}

#[repr(align(8))]
struct Control([u8; CONTROL]);

/// One sendmmsg, at most [`SEND_BATCH`] messages. Returns how many the kernel took, at least one; waits a little where
/// its buffer is full.
fn send_batch<'a>(fd: RawFd, datagrams: impl Iterator<Item = Datagram<'a>>) -> io::Result<usize> {
    let mut count = 0;
    // Written as far as there are datagrams: zeros for all would be as many bytes as a frame.
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; SEND_BATCH];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; SEND_BATCH];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; SEND_BATCH];
    for (i, datagram) in datagrams.take(SEND_BATCH).enumerate() {
        count = i + 1;
        let vector = vectors[i].write(libc::iovec {
            iov_base: datagram.data.as_ptr().cast_mut().cast(),
            iov_len: datagram.data.len(),
        });
        // SAFETY: mmsghdr is plain data; zero is a valid value.
        let header = &mut headers[i].write(unsafe { zeroed() }).msg_hdr;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        let (name, len) = datagram.to.raw();
        header.msg_name = name.cast_mut();
        header.msg_namelen = len as libc::socklen_t;
        if datagram.data.len() > datagram.segment {
            let control = controls[i].write(Control([0; CONTROL]));
            segment(header, control, datagram.segment as u16);
        }
    }
    loop {
        // SAFETY: `count` headers were written; every pointer in them outlives the call and covers the length given with
        // it.
        let sent = unsafe {
            libc::sendmmsg(
                fd,
                headers.as_mut_ptr().cast(),
                count as u32,
                libc::MSG_DONTWAIT as _,
            )
        };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => {}
            io::ErrorKind::WouldBlock if writable(fd) => {}
            _ => return Err(error),
        }
    }
}

/// Asks the kernel to cut the message every `size` bytes (udp(7), UDP_SEGMENT).
fn segment(header: &mut libc::msghdr, control: &mut Control, size: u16) {
    // SAFETY: CMSG_SPACE of two bytes is below CONTROL, and the buffer is aligned for cmsghdr.
    unsafe {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast::<u16>(), size);
    }
}

fn writable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, PATIENCE_MS) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::Duration;

    fn receive_all(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        let mut buffer = [0; 2048];
        (0..count)
            .map(|_| {
                let n = socket.recv(&mut buffer).unwrap();
                buffer[..n].to_vec()
            })
            .collect()
    }

    #[test]
    fn a_message_arrives_in_segments_with_and_without_gso() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut outbox = Outbox::new(&socket).unwrap();
        for gso in [true, false] {
            while outbox.gso() != gso {
                outbox.offload.refused();
            }
            let room = outbox.message(sink.local_addr().unwrap(), 100, 250);
            for (i, byte) in room.iter_mut().enumerate() {
                *byte = i as u8;
            }
            outbox.flush();
            let sizes: Vec<usize> = receive_all(&sink, 3).iter().map(Vec::len).collect();
            assert_eq!(sizes, [100, 100, 50]);
        }
        assert_eq!(outbox.dropped(), 0);
    }

    #[test]
    fn ipv4_peers_of_a_dual_stack_socket_are_ipv4_addresses() {
        let Ok(socket) = bind("[::]:0".parse().unwrap()) else {
            return;
        };
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        assert!(writable(socket.as_raw_fd()));
        std::thread::sleep(Duration::from_millis(20));
        let mut seen = Vec::new();
        Inbox::default()
            .receive(socket.as_raw_fd(), |from, data| {
                seen.push((from, data.to_vec()))
            })
            .unwrap();
        assert_eq!(seen, [(peer.local_addr().unwrap(), b"hello".to_vec())]);
        let mut outbox = Outbox::new(&socket).unwrap();
        outbox.message(seen[0].0, 4, 4).copy_from_slice(b"back");
        outbox.flush();
        assert_eq!(receive_all(&peer, 1), [b"back".to_vec()]);
    }
}
