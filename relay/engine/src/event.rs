//! What the engine says to the process it lives in; queued by the engine's thread, taken by Python.

/// What a stream carries, from its SPS.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub profile_level_id: [u8; 3],
    pub width: u32,
    pub height: u32,
    pub fps: Option<f64>,
}

/// Why a pull ended, by cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Unreachable,
    Refused,
    Timeout,
    Unauthorized,
    NotFound,
    SessionLimit,
    NoVideo,
    UnsupportedCodec,
    UnsupportedTransport,
    BFrames,
    NoMedia,
    NoKeyFrame,
    NoParameterSets,
    PacketLoss,
    Stalled,
    Disconnected,
    ProtocolError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// No authenticated STUN request for [`crate::ice::EXPIRY`].
    Expired,
    StreamClosed,
}

#[derive(Debug)]
pub enum Event {
    Dtls {
        viewer: u64,
        datagram: Vec<u8>,
    },
    ViewerEnded {
        viewer: u64,
        reason: EndReason,
    },
    /// The viewer is sent another stream from now on.
    Switched {
        viewer: u64,
        stream: u64,
    },
    /// What his network carries of the stream has become less than all of it, or all again.
    Strained {
        viewer: u64,
        strained: bool,
    },
    PullStarted {
        stream: u64,
        pull: u64,
        video: Video,
    },
    VideoChanged {
        stream: u64,
        pull: u64,
        video: Video,
    },
    PullEnded {
        stream: u64,
        pull: u64,
        fault: Fault,
        detail: String,
    },
}
