//! One pull: an RTSP session (retina) whose packets become the frames of a stream, until it ends with a fault.
//!
//! Runs as a task on the engine's thread. Waiting and trying again is the caller's: a pull never reconnects. What is
//! decided about packets lies in the modules below; this moves bytes between them and the session.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

pub mod clock;
pub mod depacketize;
pub mod failure;
pub mod gathering;
pub mod intake;
pub mod parameters;
pub mod pictures;
pub mod reception;
pub mod reorder;
pub mod rtp;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use retina::client::{
    self, Credentials, Described, InitialSequenceNumberPolicy, PlayOptions, Playing, Session,
    SessionGroup, SessionOptions, SetupOptions, TcpTransportOptions, UdpTransportOptions,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Sleep, sleep_until, timeout_at};
use url::Url;

use self::failure::Failure;
use self::gathering::Gathering;
use self::intake::Intake;
pub use self::pictures::Message;
use self::pictures::Pictures;
use crate::event::Fault;
use crate::socket;

/// How RTP comes from the camera (RTSP's lower transport).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transport {
    /// Over TCP, or UDP where the camera refuses that.
    Auto,
    Tcp,
    /// Or over TCP, where the camera refuses UDP.
    Udp,
}

pub struct Request {
    pub stream: u64,
    pub pull: u64,
    pub url: Url,
    pub credentials: Option<(String, String)>,
    pub transport: Transport,
    /// Until the camera plays.
    pub connect_timeout: Duration,
    /// Until the first picture, connecting included.
    pub picture_timeout: Duration,
    /// Between pictures.
    pub stall_timeout: Duration,
}

/// How long a gap in what UDP brings may close: more than the jitter of a radio link, less than a viewer notices.
const REORDER: Duration = Duration::from_millis(60);

/// Unsupported Transport (RFC 2326, 11.3.13).
const UNSUPPORTED_TRANSPORT: u16 = 461;

/// Who takes what a pull gives.
pub trait Consumer {
    fn take(&self, message: Message);
    /// Whether somebody watches: what comes is wanted as it comes.
    fn watched(&self) -> bool;
}

/// Runs the pull to its end and gives the consumer what comes; the last message is `Ended`. `alert` is to be woken when
/// somebody begins to watch.
pub async fn pull(
    request: Request,
    group: Arc<SessionGroup>,
    consumer: impl Consumer,
    alert: Rc<AtomicWaker>,
) {
    let Failure { fault, detail } = match begin(&request, group).await {
        Ok(mut pull) => {
            poll_fn(|cx| {
                alert.register(cx.waker());
                pull.poll(cx, &consumer)
            })
            .await
        }
        Err(failure) => failure,
    };
    consumer.take(Message::Ended { fault, detail });
}

async fn begin(request: &Request, group: Arc<SessionGroup>) -> Result<Pull, Failure> {
    let began = Instant::now();
    let deadline = began + request.connect_timeout;
    let first_deadline = began + request.picture_timeout.max(request.connect_timeout);
    let connected = timeout_at(deadline.into(), connect(request, group)).await;
    let (session, index, intake) = connected.map_err(|_| {
        let seconds = request.connect_timeout.as_secs_f32();
        Failure::new(Fault::Timeout, format!("no answer within {seconds} s"))
    })??;
    let next_report = Instant::now() + reception::INTERVAL / 2;
    Ok(Pull {
        session,
        index,
        intake,
        gathering: Gathering::new(request.stream),
        first_deadline,
        stall_timeout: request.stall_timeout,
        next_report,
        alarm: Box::pin(sleep_until(next_report.min(first_deadline).into())),
        armed: false,
    })
}

/// DESCRIBE, SETUP of the video, PLAY. Returns the index of the video among the session's streams too.
async fn connect(
    request: &Request,
    group: Arc<SessionGroup>,
) -> Result<(Session<Playing>, usize, Intake), Failure> {
    let credentials = request.credentials.clone();
    let options = SessionOptions::default()
        .session_group(group)
        .creds(credentials.map(|(username, password)| Credentials { username, password }))
        .user_agent(concat!("Pancar/", env!("CARGO_PKG_VERSION")).to_owned());
    let mut session = Session::describe(request.url.clone(), options)
        .await
        .map_err(|e| Failure::from(&e))?;
    let index = h264_video(&session)?;
    let video = session.streams().get(index);
    let payload_type = video.map_or(0, client::Stream::rtp_payload_type);
    let rate = video.and_then(client::Stream::framerate).map(f64::from);
    let pictures = Pictures::new(session.sdp(), payload_type, rate);

    let patience = match set_up(&mut session, index, request.transport).await? {
        client::Transport::Udp(_) => REORDER,
        _ => Duration::ZERO,
    };
    let play = PlayOptions::default().initial_seq(InitialSequenceNumberPolicy::Ignore);
    let session = session.play(play).await.map_err(|e| Failure::from(&e))?;
    let mut ssrc = [0; 4];
    // Of all zeros, should the system have no randomness, nobody minds: there is one receiver.
    let _ = SystemRandom::new().fill(&mut ssrc);
    let ssrc = u32::from_be_bytes(ssrc);
    let intake = Intake::new(payload_type, patience, pictures, ssrc, Instant::now());
    Ok((session, index, intake))
}

fn h264_video(session: &Session<Described>) -> Result<usize, Failure> {
    let streams = session.streams().iter().enumerate();
    let videos: Vec<_> = streams.filter(|(_, s)| s.media() == "video").collect();
    if let Some((index, _)) = videos.iter().find(|(_, s)| s.encoding_name() == "h264") {
        return Ok(*index);
    }
    let names: Vec<&str> = videos.iter().map(|(_, s)| s.encoding_name()).collect();
    Err(match names.is_empty() {
        true => Failure::new(Fault::NoVideo, "the camera describes no video"),
        false => Failure::new(
            Fault::UnsupportedCodec,
            format!("the camera sends {}", names.join(", ")),
        ),
    })
}

/// SETUP with the transport that was asked for, or with the other one where the camera refuses it and that is allowed.
async fn set_up(
    session: &mut Session<Described>,
    index: usize,
    transport: Transport,
) -> Result<client::Transport, Failure> {
    let tcp = client::Transport::Tcp(TcpTransportOptions::default());
    let udp = client::Transport::Udp(UdpTransportOptions::default());
    let (first, second) = match transport {
        Transport::Auto => (tcp, Some(udp)),
        Transport::Tcp => (tcp, None),
        Transport::Udp => (udp, Some(tcp)),
    };
    let with = |transport: &client::Transport| SetupOptions::default().transport(transport.clone());
    let refused = match session.setup(index, with(&first)).await {
        Ok(()) => return Ok(first),
        Err(error) => error,
    };
    match second.filter(|_| refused.status_code() == Some(UNSUPPORTED_TRANSPORT)) {
        Some(second) => match session.setup(index, with(&second)).await {
            Ok(()) => Ok(second),
            Err(error) => Err(Failure::from(&error)),
        },
        None => Err(Failure::from(&refused)),
    }
}

/// A session that plays.
struct Pull {
    session: Session<Playing>,
    index: usize,
    intake: Intake,
    gathering: Gathering,
    first_deadline: Instant,
    stall_timeout: Duration,
    next_report: Instant,
    /// Set anew when it fires, or when something is due before: not with every picture.
    alarm: Pin<Box<Sleep>>,
    armed: bool,
}

impl Pull {
    /// Takes all that has come and does what is due; ready when it is over.
    fn poll(&mut self, cx: &mut Context<'_>, consumer: &impl Consumer) -> Poll<Failure> {
        let now = Instant::now();
        let out = &|message| consumer.take(message);
        let mut came = false;
        loop {
            match self.session.poll_raw(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    let detail = "the camera closed the session";
                    return Poll::Ready(Failure::new(Fault::Disconnected, detail));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Failure::from(&error)),
                Poll::Ready(Some(Ok(raw))) if raw.stream_id == self.index => {
                    came = true;
                    if let Err(failure) = self.intake.take(&raw, now, out) {
                        return Poll::Ready(failure);
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
            }
        }
        self.gather(came, consumer, now);
        if self
            .deadline()
            .is_some_and(|deadline| self.alarm.deadline() > deadline.into())
        {
            self.arm(now);
        }
        // Once polled, it wakes this task whatever else did before.
        if self.armed && self.alarm.deadline() > now.into() {
            return Poll::Pending;
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if let Err(failure) = self.due(now, out) {
                return Poll::Ready(failure);
            }
            self.arm(now);
        }
        self.armed = true;
        Poll::Pending
    }

    /// Has the kernel keep what comes while nobody watches. What shows that the camera plays is wanted as it comes.
    fn gather(&mut self, came: bool, consumer: &impl Consumer, now: Instant) {
        let Some(connection) = self.session.interleaved_fd(self.index) else {
            return;
        };
        let watched = self.intake.newest().is_none() || consumer.watched();
        if let Some(bytes) = self.gathering.low_water(came, watched, now) {
            socket::set_low_water(connection, bytes);
        }
    }

    /// What is due besides the alarm's own.
    fn deadline(&self) -> Option<Instant> {
        let (gap, turn) = (self.intake.deadline(), self.gathering.deadline());
        gap.into_iter().chain(turn).min()
    }

    fn due(&mut self, now: Instant, out: &impl Fn(Message)) -> Result<(), Failure> {
        self.intake.timeout(now, out)?;
        if now >= self.patience() {
            let seconds = self.stall_timeout.as_secs_f32();
            return Err(match self.intake.newest() {
                None => self.intake.unseen(),
                Some(_) => Failure::new(Fault::Stalled, format!("no picture for {seconds} s")),
            });
        }
        if now >= self.next_report {
            let report = self.intake.report(now);
            // A connection that is gone shows where it is read.
            let _ = self.session.send_rtcp(self.index, &report);
            self.next_report = now + reception::INTERVAL;
        }
        Ok(())
    }

    /// How long the next picture may take.
    fn patience(&self) -> Instant {
        let newest = self.intake.newest();
        newest.map_or(self.first_deadline, |newest| newest + self.stall_timeout)
    }

    fn arm(&mut self, now: Instant) {
        let next = self.patience().min(self.next_report);
        let next = self.deadline().map_or(next, |deadline| next.min(deadline));
        self.alarm.as_mut().reset(next.max(now).into());
        self.armed = false;
    }
}

impl Drop for Pull {
    /// The answer to TEARDOWN is waited for, and is short.
    fn drop(&mut self) {
        if let Some(connection) = self.session.interleaved_fd(self.index) {
            socket::set_low_water(connection, 1);
        }
    }
}
