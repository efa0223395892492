//! The relay's packet engine.

pub mod demux;
pub mod floor;
pub mod h264;
pub mod rtcp;
pub mod srtp;
pub mod stun;
