//! The engine's events as Python objects.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::event::{EndReason, Event, Fault};

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct Video {
    codec: &'static str,
    profile_level_id: String,
    width: u32,
    height: u32,
    fps: Option<f64>,
}

#[pyclass(frozen, module = "pancar_relay._engine")]
pub(super) struct DtlsReceived {
    #[pyo3(get)]
    viewer: u64,
    data: Vec<u8>,
}

#[pymethods]
impl DtlsReceived {
    #[getter]
    fn datagram<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.data)
    }
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct ViewerEnded {
    viewer: u64,
    reason: &'static str,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct PullStarted {
    stream: u64,
    pull: u64,
    video: Py<Video>,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct VideoChanged {
    stream: u64,
    pull: u64,
    video: Py<Video>,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct PullEnded {
    stream: u64,
    pull: u64,
    fault: &'static str,
    detail: String,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct Switched {
    viewer: u64,
    stream: u64,
}

#[pyclass(frozen, get_all, module = "pancar_relay._engine")]
pub(super) struct Strained {
    viewer: u64,
    strained: bool,
}

fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::Unreachable => "Unreachable",
        Fault::Refused => "Refused",
        Fault::Timeout => "Timeout",
        Fault::Unauthorized => "Unauthorized",
        Fault::NotFound => "NotFound",
        Fault::SessionLimit => "SessionLimit",
        Fault::NoVideo => "NoVideo",
        Fault::UnsupportedCodec => "UnsupportedCodec",
        Fault::UnsupportedTransport => "UnsupportedTransport",
        Fault::BFrames => "BFrames",
        Fault::NoMedia => "NoMedia",
        Fault::NoKeyFrame => "NoKeyFrame",
        Fault::NoParameterSets => "NoParameterSets",
        Fault::PacketLoss => "PacketLoss",
        Fault::Stalled => "Stalled",
        Fault::Disconnected => "Disconnected",
        Fault::ProtocolError => "ProtocolError",
    }
}

fn video(py: Python<'_>, video: crate::event::Video) -> PyResult<Py<Video>> {
    let [profile, constraints, level] = video.profile_level_id;
    let profile_level_id = format!("{profile:02x}{constraints:02x}{level:02x}");
    let (width, height, fps) = (video.width, video.height, video.fps);
    Py::new(
        py,
        Video {
            codec: "H264",
            profile_level_id,
            width,
            height,
            fps,
        },
    )
}

fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Expired => "Expired",
        EndReason::StreamClosed => "StreamClosed",
    }
}

pub(super) fn event(py: Python<'_>, event: Event) -> PyResult<Py<PyAny>> {
    Ok(match event {
        Event::Dtls {
            viewer,
            datagram: data,
        } => Py::new(py, DtlsReceived { viewer, data })?.into_any(),
        Event::ViewerEnded { viewer, reason } => {
            let reason = reason_name(reason);
            Py::new(py, ViewerEnded { viewer, reason })?.into_any()
        }
        Event::Switched { viewer, stream } => Py::new(py, Switched { viewer, stream })?.into_any(),
        Event::Strained { viewer, strained } => {
            Py::new(py, Strained { viewer, strained })?.into_any()
        }
        Event::PullStarted {
            stream,
            pull,
            video: v,
        } => Py::new(
            py,
            PullStarted {
                stream,
                pull,
                video: video(py, v)?,
            },
        )?
        .into_any(),
        Event::VideoChanged {
            stream,
            pull,
            video: v,
        } => Py::new(
            py,
            VideoChanged {
                stream,
                pull,
                video: video(py, v)?,
            },
        )?
        .into_any(),
        Event::PullEnded {
            stream,
            pull,
            fault,
            detail,
        } => Py::new(
            py,
            PullEnded {
                stream,
                pull,
                fault: fault_name(fault),
                detail,
            },
        )?
        .into_any(),
    })
}
