//! One pull: an RTSP session over TCP (retina) whose access units feed a stream, until it ends with a fault.
//!
//! Runs as a task on the engine's thread. Waiting and trying again is the caller's: a pull never reconnects.

pub mod clock;
pub mod depacketize;
pub mod reception;
pub mod reorder;
pub mod rtp;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use retina::client::{
    Credentials, Demuxed, InitialSequenceNumberPolicy, PlayOptions, Session, SessionGroup,
    SessionOptions, SetupOptions, TcpTransportOptions, Transport, UdpTransportOptions,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use crate::event::{Fault, Video};
use crate::h264::{self, Sps, nal_type};
use crate::hub::SourceFrame;
use crate::media::MAX_PAYLOAD;

pub struct Request {
    pub stream: u64,
    pub pull: u64,
    pub url: Url,
    pub credentials: Option<(String, String)>,
    pub udp: bool,
    pub connect_timeout: Duration,
    pub stall_timeout: Duration,
}

pub enum Message {
    /// The first key frame, with what the stream carries. A frame follows.
    Started(Video),
    Changed(Video),
    Frame {
        frame: SourceFrame,
        lost: u64,
    },
    Ended {
        fault: Fault,
        detail: String,
    },
}

struct Failure {
    fault: Fault,
    detail: String,
}

impl Failure {
    fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            detail: detail.into(),
        }
    }
}

/// Runs the pull to its end and gives `out` what comes, as it comes; the last message is `Ended`.
pub async fn pull(request: Request, group: Arc<SessionGroup>, out: impl Fn(Message)) {
    let Err(Failure { fault, detail }) = run(&request, group, &out).await;
    out(Message::Ended { fault, detail });
}

async fn run(
    request: &Request,
    group: Arc<SessionGroup>,
    out: &impl Fn(Message),
) -> Result<Infallible, Failure> {
    let late = || {
        let seconds = request.connect_timeout.as_secs_f32();
        Failure::new(Fault::Timeout, format!("no answer within {seconds} s"))
    };
    let (mut demuxed, index) = timeout(request.connect_timeout, connect(request, group))
        .await
        .map_err(|_| late())??;
    let mut pictures = Pictures::default();
    let mut newest = Instant::now();
    let mut patience = request.stall_timeout.max(request.connect_timeout);
    let mut stall = pin!(sleep_until(newest + patience));
    loop {
        let item = tokio::select! {
            biased;
            item = demuxed.next() => item,
            () = &mut stall => {
                // Set anew only when it fires, not with every picture.
                if newest + patience <= Instant::now() {
                    return Err(stalled(request, &pictures));
                }
                stall.as_mut().reset(newest + patience);
                continue;
            }
        };
        let frame = match item {
            None => {
                return Err(Failure::new(
                    Fault::Disconnected,
                    "the camera closed the session",
                ));
            }
            Some(Err(error)) => return Err(classify(&error)),
            Some(Ok(CodecItem::VideoFrame(frame))) => frame,
            Some(Ok(_)) => continue,
        };
        if !pictures.started || frame.has_new_parameters() {
            pictures.rate = declared_rate(&demuxed, index);
        }
        for message in pictures.take(&frame)? {
            (newest, patience) = (Instant::now(), request.stall_timeout);
            out(message);
        }
    }
}

/// Frames a second as the session's parameters declare them.
fn declared_rate(demuxed: &Demuxed, index: usize) -> Option<f64> {
    let Some(ParametersRef::Video(video)) = demuxed.streams().get(index)?.parameters() else {
        return None;
    };
    let (units, scale) = video.frame_rate().filter(|(units, _)| *units > 0)?;
    Some(f64::from(scale) / f64::from(units))
}

fn stalled(request: &Request, pictures: &Pictures) -> Failure {
    let seconds = request.stall_timeout.as_secs_f32();
    match pictures.started {
        true => Failure::new(Fault::Stalled, format!("no picture for {seconds} s")),
        false => Failure::new(Fault::Stalled, "the session is up, but no key frame came"),
    }
}

/// DESCRIBE, SETUP of the video, PLAY. Returns the index of the video among the session's streams.
async fn connect(request: &Request, group: Arc<SessionGroup>) -> Result<(Demuxed, usize), Failure> {
    let credentials = request.credentials.clone();
    let options = SessionOptions::default()
        .session_group(group)
        .creds(credentials.map(|(username, password)| Credentials { username, password }))
        .user_agent(concat!("Pancar/", env!("CARGO_PKG_VERSION")).to_owned());
    let mut session = Session::describe(request.url.clone(), options)
        .await
        .map_err(|e| classify(&e))?;
    let videos = || {
        session
            .streams()
            .iter()
            .enumerate()
            .filter(|(_, s)| s.media() == "video")
    };
    let index = match videos().find(|(_, s)| s.encoding_name() == "h264") {
        Some((index, _)) => index,
        None => {
            let names: Vec<&str> = videos().map(|(_, s)| s.encoding_name()).collect();
            return Err(match names.is_empty() {
                true => Failure::new(Fault::NoVideo, "the camera describes no video"),
                false => Failure::new(
                    Fault::UnsupportedCodec,
                    format!("the camera sends {}", names.join(", ")),
                ),
            });
        }
    };
    let transport = match request.udp {
        true => Transport::Udp(UdpTransportOptions::default()),
        false => Transport::Tcp(TcpTransportOptions::default()),
    };
    let setup = SetupOptions::default()
        .transport(transport)
        .frame_format(FrameFormat::default());
    session
        .setup(index, setup)
        .await
        .map_err(|e| classify(&e))?;
    let play = PlayOptions::default().initial_seq(InitialSequenceNumberPolicy::Ignore);
    let demuxed = session
        .play(play)
        .await
        .and_then(Session::demuxed)
        .map_err(|e| classify(&e))?;
    Ok((demuxed, index))
}

/// Turns access units into packetised frames; nothing before the first key frame.
#[derive(Default)]
struct Pictures {
    started: bool,
    rate: Option<f64>,
    parameters: Vec<u8>,
    lost: u64,
}

impl Pictures {
    fn take(&mut self, frame: &VideoFrame) -> Result<Vec<Message>, Failure> {
        self.lost += u64::from(frame.loss());
        let nals: Vec<&[u8]> = h264::nals_avcc(frame.data())
            .collect::<Result<_, _>>()
            .map_err(|_| {
                Failure::new(
                    Fault::ProtocolError,
                    "a NAL unit runs past the end of its frame",
                )
            })?;
        if nals.iter().any(|nal| h264::is_b_slice(nal) == Some(true)) {
            return Err(Failure::new(
                Fault::BFrames,
                "the camera encodes with B-frames",
            ));
        }
        let key = nals
            .iter()
            .any(|nal| h264::nal_type(nal) == Some(nal_type::IDR));
        let mut messages = Vec::with_capacity(2);
        if let Some(sps) = nals
            .iter()
            .find(|nal| h264::nal_type(nal) == Some(nal_type::SPS))
        {
            messages.extend(self.parameters(sps, key)?);
        }
        if self.started {
            let frame = SourceFrame {
                packets: h264::packetize(&nals, MAX_PAYLOAD),
                timestamp: frame.timestamp().timestamp(),
                key,
                bytes: frame.data().len() as u64,
            };
            messages.push(Message::Frame {
                frame,
                lost: std::mem::take(&mut self.lost),
            });
        }
        Ok(messages)
    }

    /// What a parameter set in front of a picture says: the start, a change, or nothing new.
    fn parameters(&mut self, sps: &[u8], key: bool) -> Result<Option<Message>, Failure> {
        if self.parameters == sps || !key {
            return Ok(None);
        }
        let parsed =
            Sps::parse(sps).map_err(|e| Failure::new(Fault::ProtocolError, e.to_string()))?;
        self.parameters = sps.to_vec();
        let video = Video {
            profile_level_id: parsed.profile_level_id,
            width: parsed.width,
            height: parsed.height,
            fps: parsed.fps.or(self.rate),
        };
        let first = !std::mem::replace(&mut self.started, true);
        Ok(Some(if first {
            Message::Started(video)
        } else {
            Message::Changed(video)
        }))
    }
}

/// The cause behind an error of retina's, which tells statuses by method and the rest by its text alone.
fn classify(error: &retina::Error) -> Failure {
    let text = error.to_string();
    let detail = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect::<String>();
    let fault = match error.status_code() {
        Some(401 | 403 | 407) => Fault::Unauthorized,
        Some(404 | 410 | 454) => Fault::NotFound,
        // Not Enough Bandwidth, Service Unavailable: what cameras say that have no session to spare.
        Some(453 | 503) => Fault::SessionLimit,
        Some(415) => Fault::UnsupportedCodec,
        Some(_) => Fault::ProtocolError,
        None => transport_fault(&text),
    };
    Failure { fault, detail }
}

fn transport_fault(text: &str) -> Fault {
    let errno = text
        .split_once("(os error ")
        .and_then(|(_, rest)| rest.split_once(')'))
        .and_then(|(number, _)| number.parse::<i32>().ok());
    match errno {
        Some(libc::ECONNREFUSED) => Fault::Refused,
        Some(libc::ETIMEDOUT) => Fault::Timeout,
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Fault::Disconnected,
        _ if text.starts_with("Unable to connect") => Fault::Unreachable,
        _ if text.starts_with("Error reading") || text.starts_with("Error writing") => {
            Fault::Disconnected
        }
        _ if text.starts_with("Timeout") => Fault::Timeout,
        _ => Fault::ProtocolError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_errors_are_told_by_errno() {
        let text = "Unable to connect to RTSP server: Connection refused (os error 111)";
        assert_eq!(transport_fault(text), Fault::Refused);
        let text = "Unable to connect to RTSP server: No route to host (os error 113)";
        assert_eq!(transport_fault(text), Fault::Unreachable);
        let text = "Unable to connect to RTSP server: failed to lookup address information: Name or service not known";
        assert_eq!(transport_fault(text), Fault::Unreachable);
        let text = "Error reading from RTSP peer: Connection reset by peer (os error 104)";
        assert_eq!(transport_fault(text), Fault::Disconnected);
    }
}
