//! Why a pull ended, by cause, out of what retina or the packets said. Pure; used by `rtsp`.

use crate::event::Fault;

pub struct Failure {
    pub fault: Fault,
    /// For a log. Never holds a credential.
    pub detail: String,
}

impl Failure {
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self {
            fault,
            detail: detail.into(),
        }
    }
}

/// The cause behind an error of retina's, which tells statuses by method and the rest by its text alone.
impl From<&retina::Error> for Failure {
    fn from(error: &retina::Error) -> Self {
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
            Some(461) => Fault::UnsupportedTransport,
            Some(_) => Fault::ProtocolError,
            None => transport_fault(&text),
        };
        Failure { fault, detail }
    }
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
