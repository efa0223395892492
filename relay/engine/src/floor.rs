//! The floor under the fan-out's figures: AES-128-GCM and sendmmsg of GSO messages, paced at a
//! frame rate, nothing else. Run by `pancar bench` in a process of its own, with the packet sizes
//! and sinks of the run it stands beside.
//!
//! It shares no sending code with the relay: what the relay wastes must not lie in its floor too.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::transmit::{MAX_MESSAGE, MAX_SEGMENTS};

pub mod ingest;

/// What a run of the floor took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// To all targets together.
    pub packets: u64,
    /// Bytes of UDP payload, to all targets together.
    pub bytes: u64,
    /// User and system CPU time of the sending thread while it sent.
    pub cpu: Duration,
    /// Time on the clock.
    pub elapsed: Duration,
}

const RTP_HEADER: usize = 12;
const TAG: usize = 16;
/// Messages of one sendmmsg, and bytes sealed before one. Sizes from 11 kB to 2 MB cost the same at
/// 200 targets, within the noise.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 128 << 10;
const SEND_BUFFER: usize = 4 << 20;

/// Sends `frames` (datagram sizes, RTP header and tag included, of each frame; repeated from the
/// start) to each of `targets` at `fps` for `duration`.
///
/// Errors: `InvalidInput` where sizes, targets (all of one address family) or rate make no sense;
/// else what the socket says.
pub fn run(
    targets: &[SocketAddr],
    frames: &[Vec<usize>],
    fps: f64,
    duration: Duration,
) -> io::Result<Usage> {
    let (Some(first), false) = (targets.first(), frames.is_empty()) else {
        return Err(invalid("no targets or no frames"));
    };
    if targets
        .iter()
        .any(|target| target.is_ipv4() != first.is_ipv4())
    {
        return Err(invalid("targets of two address families"));
    }
    if !(fps > 0.0 && fps <= 1000.0) {
        return Err(invalid("frame rate"));
    }
    let frames: Vec<Frame> = frames
        .iter()
        .map(|sizes| Frame::new(sizes))
        .collect::<Result<_, _>>()?;
    let mut lanes: Vec<Lane> = targets
        .iter()
        .zip(1..)
        .map(Lane::new)
        .collect::<Result<_, _>>()?;
    let mut socket = Floor::new(*first, &frames)?;

    let mut usage = Usage::default();
    let (start, cpu) = (Instant::now(), thread_cpu()?);
    for (number, frame) in (0u32..).zip(frames.iter().cycle()) {
        let due = Duration::from_secs_f64(f64::from(number) / fps);
        if due >= duration {
            break;
        }
        std::thread::sleep((start + due).saturating_duration_since(Instant::now()));
        socket.send_frame(frame, number, &mut lanes)?;
        usage.packets += (frame.sizes.len() * lanes.len()) as u64;
        usage.bytes += (frame.bytes * lanes.len()) as u64;
    }
    usage.cpu = thread_cpu()?.saturating_sub(cpu);
    usage.elapsed = start.elapsed();
    Ok(usage)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// Packet sizes of a frame, and how they make messages.
struct Frame {
    sizes: Vec<usize>,
    bytes: usize,
    runs: Vec<Run>,
}

/// Packets of one size, save the last, which may be shorter: one message.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    bytes: usize,
    segment: usize,
}

impl Frame {
    fn new(sizes: &[usize]) -> io::Result<Self> {
        if !sizes
            .iter()
            .all(|size| (RTP_HEADER + TAG..=1500).contains(size))
        {
            return Err(invalid("packet sizes"));
        }
        let mut runs: Vec<Run> = Vec::new();
        let (mut bytes, mut open) = (0, false);
        for &size in sizes {
            let joins = |run: &&mut Run| {
                let full =
                    run.bytes + size > MAX_MESSAGE || run.bytes / run.segment >= MAX_SEGMENTS;
                open && size <= run.segment && !full
            };
            match runs.last_mut().filter(joins) {
                Some(run) => {
                    run.bytes += size;
                    open = size == run.segment;
                }
                None => {
                    runs.push(Run {
                        start: bytes,
                        bytes: size,
                        segment: size,
                    });
                    open = true;
                }
            }
            bytes += size;
        }
        Ok(Self {
            sizes: sizes.to_vec(),
            bytes,
            runs,
        })
    }
}

/// What one target takes.
struct Lane {
    to: SockAddr,
    key: LessSafeKey,
    ssrc: u32,
    sent: u32,
}

impl Lane {
    fn new((to, ssrc): (&SocketAddr, u32)) -> io::Result<Self> {
        let key = u128::from(ssrc).to_be_bytes();
        let key = UnboundKey::new(&AES_128_GCM, &key).map_err(|_| invalid("key"))?;
        Ok(Self {
            to: (*to).into(),
            key: LessSafeKey::new(key),
            ssrc,
            sent: 0,
        })
    }

    /// Writes the frame's packets back to back; their payload is whatever lies there.
    fn seal(&mut self, sizes: &[usize], timestamp: u32, mut room: &mut [u8]) -> io::Result<()> {
        for &size in sizes {
            let (packet, rest) = room.split_at_mut(size);
            room = rest;
            let (header, body) = packet.split_at_mut(RTP_HEADER);
            let (payload, tag) = body.split_at_mut(size - RTP_HEADER - TAG);
            header[..2].copy_from_slice(&[0x80, 96]);
            header[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
            header[4..8].copy_from_slice(&timestamp.to_be_bytes());
            header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
            let mut nonce = [0; 12];
            nonce[8..].copy_from_slice(&self.sent.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let sealed = self
                .key
                .seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
            tag.copy_from_slice(sealed.map_err(|_| invalid("packet sizes"))?.as_ref());
            self.sent += 1;
        }
        Ok(())
    }
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 24]);

/// The socket and everything that is ready for a sendmmsg.
struct Floor {
    socket: Socket,
    buffer: Vec<u8>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<Control>,
}

impl Floor {
    fn new(target: SocketAddr, frames: &[Frame]) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(target),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_send_buffer_size(SEND_BUFFER)?;
        let largest = frames.iter().map(|frame| frame.bytes).max().unwrap_or(0);
        // SAFETY: mmsghdr and iovec are plain data; zero is a valid value of each.
        let (header, vector) = unsafe { (zeroed(), zeroed()) };
        Ok(Self {
            socket,
            buffer: (0..BATCH_BYTES.max(largest)).map(|n| n as u8).collect(),
            headers: vec![header; BATCH],
            vectors: vec![vector; BATCH],
            controls: vec![Control([0; 24]); BATCH],
        })
    }

    /// Seals a frame for each lane, and sends whenever a batch is full.
    fn send_frame(&mut self, frame: &Frame, number: u32, lanes: &mut [Lane]) -> io::Result<()> {
        if frame.bytes == 0 {
            return Ok(());
        }
        let timestamp = number.wrapping_mul(3600);
        for lanes in lanes.chunks_mut((self.buffer.len() / frame.bytes).max(1)) {
            for (lane, room) in lanes
                .iter_mut()
                .zip(self.buffer.chunks_exact_mut(frame.bytes))
            {
                lane.seal(&frame.sizes, timestamp, room)?;
            }
            let mut waiting = 0;
            for (lane, start) in lanes.iter().zip((0..).step_by(frame.bytes)) {
                for run in &frame.runs {
                    self.prepare(waiting, &lane.to, start, run);
                    waiting += 1;
                    if waiting == BATCH {
                        self.send(waiting)?;
                        waiting = 0;
                    }
                }
            }
            self.send(waiting)?;
        }
        Ok(())
    }

    fn prepare(&mut self, index: usize, to: &SockAddr, start: usize, run: &Run) {
        let data = &mut self.buffer[start + run.start..][..run.bytes];
        self.vectors[index] = libc::iovec {
            iov_base: data.as_mut_ptr().cast(),
            iov_len: data.len(),
        };
        let header = &mut self.headers[index].msg_hdr;
        header.msg_name = to.as_ptr().cast_mut().cast();
        header.msg_namelen = to.len();
        header.msg_iov = &raw mut self.vectors[index];
        header.msg_iovlen = 1;
        header.msg_controllen = 0;
        if run.bytes > run.segment {
            header.msg_control = (&raw mut self.controls[index]).cast();
            // SAFETY: the control buffer is aligned for a cmsghdr and takes one with two bytes
            // behind it.
            unsafe {
                header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                libc::CMSG_DATA(control)
                    .cast::<u16>()
                    .write_unaligned(run.segment as u16);
            }
        }
    }

    fn send(&mut self, count: usize) -> io::Result<()> {
        let mut waiting = &mut self.headers[..count];
        while !waiting.is_empty() {
            let (fd, headers) = (self.socket.as_raw_fd(), waiting.as_mut_ptr());
            // SAFETY: the headers point into `vectors`, `controls`, `buffer` and the lanes, all of
            // which outlive the call.
            let sent = unsafe { libc::sendmmsg(fd, headers, waiting.len() as u32, 0) };
            match usize::try_from(sent) {
                Ok(sent) => waiting = &mut waiting[sent..],
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

/// User and system CPU time of this thread so far.
fn thread_cpu() -> io::Result<Duration> {
    // SAFETY: rusage is plain data, and outlives the call.
    let usage = unsafe {
        let mut usage: libc::rusage = zeroed();
        if libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) != 0 {
            return Err(io::Error::last_os_error());
        }
        usage
    };
    let duration = |time: libc::timeval| {
        Duration::new(time.tv_sec as u64, 0) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(duration(usage.ru_utime) + duration(usage.ru_stime))
}

#[cfg(test)]
mod tests;
