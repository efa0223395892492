//! The relay's packet engine: RTSP in, SRTP out, on one socket and one thread.
//!
//! `hub` decides, `engine` moves bytes, this file is the Python face.

pub mod address;
pub mod congestion;
pub mod connections;
pub mod counters;
pub mod demux;
pub mod engine;
pub mod event;
pub mod floor;
pub mod framing;
pub mod h264;
pub mod header;
pub mod holding;
pub mod hub;
pub mod ice;
pub mod leg;
pub mod media;
pub mod numbering;
pub mod pacer;
pub mod pictures;
pub mod prefetch;
#[cfg(feature = "python")]
mod python;
pub mod repair;
pub mod rtcp;
pub mod rtp;
pub mod rtsp;
pub mod socket;
pub mod srtp;
pub mod stream;
pub mod stun;
pub mod transmit;
#[cfg(test)]
mod vectors;
pub mod viewer;

#[cfg(feature = "python")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
