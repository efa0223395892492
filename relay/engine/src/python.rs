//! The engine's Python face (`pancar_relay._engine`); its contract is `_engine.pyi`. Nothing but conversion.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use url::Url;

use crate::address::Protocol;
use crate::congestion::Share;
use crate::counters::Dropped;
use crate::engine::{self, Command};
use crate::event::Event;
use crate::floor;
use crate::header::MAX_MID;
use crate::hub::Keys;
use crate::ice::Credentials;
use crate::media::{Negotiated, Rtx};
use crate::rtsp;
use crate::srtp::Profile;

mod events;

use events::event;

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
struct StreamStats {
    stream: u64,
    viewers: usize,
    frames: u64,
    key_frames: u64,
    bytes: u64,
    packets_lost: u64,
    packets_sent: u64,
    bytes_sent: u64,
    packets_resent: u64,
    frames_dropped: HashMap<&'static str, u64>,
    pictures_requested: u64,
    pictures_resent: u64,
    last_frame_age: Option<f64>,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
struct ViewerStats {
    viewer: u64,
    stream: u64,
    address: Option<(String, u16)>,
    transport: Option<&'static str>,
    packets_sent: u64,
    bytes_sent: u64,
    packets_resent: u64,
    nacks_received: u64,
    fraction_lost: f64,
    round_trip: Option<f64>,
    frames_dropped: HashMap<&'static str, u64>,
    pictures_requested: u64,
    pictures_resent: u64,
    share: Option<&'static str>,
    pace: u64,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
struct EngineStats {
    streams: Vec<Py<StreamStats>>,
    viewers: Vec<Py<ViewerStats>>,
    packets_dropped: u64,
    datagrams_rejected: u64,
    tcp_connections: usize,
    gso: bool,
}

fn dropped(dropped: Dropped) -> HashMap<&'static str, u64> {
    HashMap::from([("Late", dropped.late), ("Thinned", dropped.thinned)])
}

fn share_name(share: Share) -> &'static str {
    match share {
        Share::Everything => "Everything",
        Share::KeyFrames => "KeyFrames",
    }
}

fn parse_address(host: &str, port: u16) -> PyResult<SocketAddr> {
    let ip: IpAddr = host
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{host:?} is no IP address to bind to")))?;
    Ok(SocketAddr::new(ip, port))
}

fn positive_seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| !d.is_zero())
        .ok_or_else(|| {
            PyValueError::new_err(format!("{name} must be a positive number of seconds"))
        })
}

/// Parses a camera's URL; what is wrong is said without repeating it, for it may hold a password.
fn camera_url(url: &str) -> PyResult<Url> {
    let url = Url::parse(url).map_err(|e| PyValueError::new_err(format!("not a URL: {e}")))?;
    if url.scheme() != "rtsp" || url.host_str().is_none() {
        return Err(PyValueError::new_err("not an rtsp:// URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(PyValueError::new_err(
            "user and password belong beside the URL, not into it",
        ));
    }
    Ok(url)
}

fn header_extension(name: &str, id: u8) -> PyResult<u8> {
    // One-byte header extensions (RFC 8285, 4.2).
    match id {
        1..=14 => Ok(id),
        _ => Err(PyValueError::new_err(format!(
            "header extension id of {name} must be 1 to 14"
        ))),
    }
}

#[pyclass(frozen, module = "pancar_relay._engine")]
struct Engine(engine::Engine);

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, host: &str, port: u16) -> PyResult<Self> {
        let address = parse_address(host, port)?;
        Ok(Self(py.detach(|| engine::Engine::start(address))?))
    }

    #[getter]
    fn local_address(&self) -> (String, u16) {
        let address = self.0.address();
        (address.ip().to_string(), address.port())
    }

    #[getter]
    fn tcp_address(&self) -> (String, u16) {
        let address = self.0.tcp_address();
        (address.ip().to_string(), address.port())
    }

    fn fileno(&self) -> i32 {
        self.0.wake_fd()
    }

    fn events(&self, py: Python<'_>) -> PyResult<Vec<Py<PyAny>>> {
        let events: VecDeque<Event> = py.detach(|| self.0.events());
        events.into_iter().map(|e| event(py, e)).collect()
    }

    fn heartbeat(&self) -> f64 {
        self.0.heartbeat().as_secs_f64()
    }

    fn open_stream(&self) -> u64 {
        let id = self.0.next_id();
        self.0.send(Command::OpenStream(id));
        id
    }

    fn close_stream(&self, stream: u64) {
        self.0.send(Command::CloseStream(stream));
    }

    #[pyo3(signature = (stream, url, *, username=None, password=None, transport="auto", connect_timeout=10.0, picture_timeout=10.0, stall_timeout=5.0))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python call"
    )]
    fn pull(
        &self,
        stream: u64,
        url: &str,
        username: Option<String>,
        password: Option<String>,
        transport: &str,
        connect_timeout: f64,
        picture_timeout: f64,
        stall_timeout: f64,
    ) -> PyResult<u64> {
        let transport = match transport {
            "auto" => rtsp::Transport::Auto,
            "tcp" => rtsp::Transport::Tcp,
            "udp" => rtsp::Transport::Udp,
            _ => {
                return Err(PyValueError::new_err(
                    "transport must be \"auto\", \"tcp\" or \"udp\"",
                ));
            }
        };
        let pull = self.0.next_id();
        self.0.send(Command::Pull(rtsp::Request {
            stream,
            pull,
            url: camera_url(url)?,
            credentials: username.map(|name| (name, password.unwrap_or_default())),
            transport,
            connect_timeout: positive_seconds("connect_timeout", connect_timeout)?,
            picture_timeout: positive_seconds("picture_timeout", picture_timeout)?,
            stall_timeout: positive_seconds("stall_timeout", stall_timeout)?,
        }));
        Ok(pull)
    }

    fn stop_pull(&self, stream: u64) {
        self.0.send(Command::StopPull(stream));
    }

    #[pyo3(signature = (stream, *, local_ufrag, local_pwd, remote_ufrag, payload_type, ssrc, cname, mid=None, playout_delay=None, rtx=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python call"
    )]
    fn add_viewer(
        &self,
        stream: u64,
        local_ufrag: String,
        local_pwd: String,
        remote_ufrag: String,
        payload_type: u8,
        ssrc: u32,
        cname: String,
        mid: Option<(u8, String)>,
        playout_delay: Option<u8>,
        rtx: Option<(u8, u32)>,
    ) -> PyResult<u64> {
        if payload_type > 127 || rtx.is_some_and(|(payload_type, _)| payload_type > 127) {
            return Err(PyValueError::new_err("payload_type must be 0 to 127"));
        }
        let mid = mid
            .map(|(id, value)| header_extension("mid", id).map(|id| (id, value)))
            .transpose()?;
        if mid
            .as_ref()
            .is_some_and(|(_, value)| value.is_empty() || value.len() > MAX_MID)
        {
            return Err(PyValueError::new_err(format!(
                "mid must have 1 to {MAX_MID} bytes"
            )));
        }
        let playout_delay = playout_delay
            .map(|id| header_extension("playout_delay", id))
            .transpose()?;
        let viewer = self.0.next_id();
        let negotiated = Negotiated {
            payload_type,
            ssrc,
            cname,
            mid,
            playout_delay,
            rtx: rtx.map(|(payload_type, ssrc)| Rtx { payload_type, ssrc }),
        };
        self.0.send(Command::AddViewer {
            viewer,
            stream,
            ufrag: local_ufrag,
            pwd: local_pwd,
            remote_ufrag,
            negotiated,
        });
        Ok(viewer)
    }

    fn send_dtls(&self, viewer: u64, datagram: Vec<u8>) {
        self.0.send(Command::SendDtls { viewer, datagram });
    }

    #[pyo3(signature = (viewer, *, profile, send_key, send_salt, receive_key, receive_salt, last_flight, close_notify))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python call"
    )]
    fn start_media(
        &self,
        viewer: u64,
        profile: &str,
        send_key: Vec<u8>,
        send_salt: Vec<u8>,
        receive_key: Vec<u8>,
        receive_salt: Vec<u8>,
        last_flight: Vec<u8>,
        close_notify: Vec<u8>,
    ) -> PyResult<()> {
        let profile = Profile::from_name(profile)
            .ok_or_else(|| PyValueError::new_err(format!("unknown SRTP profile {profile:?}")))?;
        let fits = |key: &[u8], salt: &[u8]| {
            key.len() == profile.key_len() && salt.len() == profile.salt_len()
        };
        if !fits(&send_key, &send_salt) || !fits(&receive_key, &receive_salt) {
            return Err(PyValueError::new_err(
                "SRTP key or salt of the wrong length for its profile",
            ));
        }
        let keys = Keys {
            profile,
            send: (send_key, send_salt),
            receive: (receive_key, receive_salt),
        };
        self.0.send(Command::StartMedia {
            viewer,
            keys,
            last_flight,
            close_notify,
        });
        Ok(())
    }

    #[pyo3(signature = (viewer, *, local_ufrag, local_pwd, remote_ufrag))]
    fn restart_ice(
        &self,
        viewer: u64,
        local_ufrag: String,
        local_pwd: String,
        remote_ufrag: String,
    ) {
        let new = Credentials {
            local_ufrag,
            local_pwd,
            remote_ufrag,
        };
        self.0.send(Command::RestartIce(viewer, new));
    }

    fn switch(&self, viewer: u64, stream: u64) {
        self.0.send(Command::Switch { viewer, stream });
    }

    fn remove_viewer(&self, viewer: u64) {
        self.0.send(Command::RemoveViewer(viewer));
    }

    fn stats(&self, py: Python<'_>) -> PyResult<EngineStats> {
        let stats = py
            .detach(|| self.0.stats())
            .ok_or_else(|| PyTimeoutError::new_err("the engine's thread does not answer"))?;
        let now = Instant::now();
        let streams = stats.streams.into_iter().map(|s| {
            let stats = StreamStats {
                stream: s.stream,
                viewers: s.viewers,
                frames: s.counters.frames,
                key_frames: s.counters.key_frames,
                bytes: s.counters.bytes,
                packets_lost: s.counters.packets_lost,
                packets_sent: s.sent.packets,
                bytes_sent: s.sent.bytes,
                packets_resent: s.sent.resent,
                frames_dropped: dropped(s.sent.dropped),
                pictures_requested: s.sent.pictures_requested,
                pictures_resent: s.sent.pictures_resent,
                last_frame_age: s
                    .last_frame
                    .map(|at| now.saturating_duration_since(at).as_secs_f64()),
            };
            Py::new(py, stats)
        });
        let viewers = stats.viewers.into_iter().map(|v| {
            let stats = ViewerStats {
                viewer: v.viewer,
                stream: v.stream,
                address: v
                    .address
                    .map(|a| (a.socket.ip().to_string(), a.socket.port())),
                transport: v.address.map(|a| match a.protocol {
                    Protocol::Udp => "udp",
                    Protocol::Tcp(_) => "tcp",
                }),
                packets_sent: v.counters.packets_sent,
                bytes_sent: v.counters.bytes_sent,
                packets_resent: v.counters.packets_resent,
                nacks_received: v.counters.nacks,
                fraction_lost: v.counters.fraction_lost,
                round_trip: v.counters.round_trip.map(|d| d.as_secs_f64()),
                frames_dropped: dropped(v.counters.dropped),
                pictures_requested: v.counters.pictures_requested,
                pictures_resent: v.counters.pictures_resent,
                share: v.share.map(share_name),
                pace: v.pace,
            };
            Py::new(py, stats)
        });
        Ok(EngineStats {
            streams: streams.collect::<PyResult<_>>()?,
            viewers: viewers.collect::<PyResult<_>>()?,
            packets_dropped: stats.dropped,
            datagrams_rejected: stats.rejected,
            tcp_connections: stats.connections,
            gso: stats.gso,
        })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

/// The floor under the fan-out's figures: seals and sends `frames` (datagram sizes of each frame) to each target at
/// `fps` for `seconds`, nothing else. Returns packets, CPU seconds and seconds on the clock.
#[pyfunction]
fn run_floor(
    py: Python<'_>,
    targets: Vec<String>,
    frames: Vec<Vec<usize>>,
    fps: f64,
    seconds: f64,
) -> PyResult<(u64, f64, f64)> {
    let targets: Vec<SocketAddr> = targets
        .iter()
        .map(|target| target.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| PyValueError::new_err("targets must be \"ip:port\""))?;
    let duration = positive_seconds("seconds", seconds)?;
    let usage = py.detach(|| floor::run(&targets, &frames, fps, duration))?;
    Ok((
        usage.packets,
        usage.cpu.as_secs_f64(),
        usage.elapsed.as_secs_f64(),
    ))
}

/// The floor under the ingest's figures: pulls every URL with retina and drops what comes, for `seconds`. Returns
/// frames, CPU seconds and seconds on the clock.
#[pyfunction]
fn run_ingest_floor(py: Python<'_>, urls: Vec<String>, seconds: f64) -> PyResult<(u64, f64, f64)> {
    let urls: Vec<Url> = urls
        .iter()
        .map(|url| camera_url(url))
        .collect::<PyResult<_>>()?;
    let duration = positive_seconds("seconds", seconds)?;
    let usage = py.detach(|| floor::ingest::run(&urls, duration))?;
    Ok((
        usage.frames,
        usage.cpu.as_secs_f64(),
        usage.elapsed.as_secs_f64(),
    ))
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Engine>()?;
    module.add_class::<EngineStats>()?;
    module.add_class::<StreamStats>()?;
    module.add_class::<ViewerStats>()?;
    module.add_class::<events::Video>()?;
    module.add_class::<events::DtlsReceived>()?;
    module.add_class::<events::ViewerEnded>()?;
    module.add_class::<events::Switched>()?;
    module.add_class::<events::Strained>()?;
    module.add_class::<events::PullStarted>()?;
    module.add_class::<events::VideoChanged>()?;
    module.add_class::<events::PullEnded>()?;
    module.add_function(wrap_pyfunction!(run_floor, module)?)?;
    module.add_function(wrap_pyfunction!(run_ingest_floor, module)?)?;
    Ok(())
}
