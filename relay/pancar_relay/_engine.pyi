"""The packet engine: one UDP socket, TCP beside it, and a thread of its own that takes no GIL while packets flow.

Calls hand a command to that thread and return at once; a command that names a stream or viewer already gone does
nothing. What the engine has to say waits in `events()`; `fileno()` is readable while something waits there.
"""

from typing import final

@final
class Video:
    """What a stream carries, read from its SPS."""

    @property
    def codec(self) -> str:
        """Always "H264" today."""
    @property
    def profile_level_id(self) -> str:
        """Six lower-case hex digits (RFC 6184, 8.1)."""
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def fps(self) -> float | None:
        """Frames a second as the stream declares them."""

@final
class DtlsReceived:
    """A DTLS datagram of a viewer whose address is validated; for its handshake only."""

    @property
    def viewer(self) -> int: ...
    @property
    def datagram(self) -> bytes: ...

@final
class ViewerEnded:
    """The engine let a viewer go by itself; its id means nothing any more."""

    @property
    def viewer(self) -> int: ...
    @property
    def reason(self) -> str:
        """ "Expired" (30 s without an authenticated STUN request) or "StreamClosed"."""

@final
class Switched:
    """The viewer is sent another stream from now on: see `Engine.switch`."""

    @property
    def viewer(self) -> int: ...
    @property
    def stream(self) -> int: ...

@final
class Strained:
    """What the viewer's network carries of his stream has become less than all of it, or all again."""

    @property
    def viewer(self) -> int: ...
    @property
    def strained(self) -> bool: ...

@final
class PullStarted:
    """The first key frame of a pull has arrived: the stream is live."""

    @property
    def stream(self) -> int: ...
    @property
    def pull(self) -> int: ...
    @property
    def video(self) -> Video: ...

@final
class VideoChanged:
    """A stream's parameter sets changed in mid-stream."""

    @property
    def stream(self) -> int: ...
    @property
    def pull(self) -> int: ...
    @property
    def video(self) -> Video: ...

@final
class PullEnded:
    """A pull is over, its RTSP session closed. It is not repeated by the engine."""

    @property
    def stream(self) -> int: ...
    @property
    def pull(self) -> int: ...
    @property
    def fault(self) -> str:
        """The cause: Unreachable, Refused, Timeout, Unauthorized, NotFound, SessionLimit, NoVideo, UnsupportedCodec,
        UnsupportedTransport, BFrames, NoMedia, NoKeyFrame, NoParameterSets, PacketLoss, Stalled, Disconnected or
        ProtocolError."""
    @property
    def detail(self) -> str:
        """For a log: what was seen. Never holds a credential."""

Event = DtlsReceived | ViewerEnded | Switched | Strained | PullStarted | VideoChanged | PullEnded

@final
class StreamStats:
    """Counters of one stream since it was opened."""

    @property
    def stream(self) -> int: ...
    @property
    def viewers(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def key_frames(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Of H.264 as received from the camera."""
    @property
    def packets_lost(self) -> int:
        """RTP packets missing on the way from the camera."""
    @property
    def packets_sent(self) -> int:
        """RTP packets sent to its viewers, those who left included."""
    @property
    def bytes_sent(self) -> int:
        """Of RTP as sealed, to its viewers."""
    @property
    def packets_resent(self) -> int:
        """RTP packets sent again on a viewer's NACK."""
    @property
    def frames_dropped(self) -> dict[str, int]:
        """Frames that viewers were not sent, by reason, those who left included: "Late" where they waited for a
        viewer's network for too long, "Thinned" where it carries key frames only."""
    @property
    def pictures_requested(self) -> int:
        """PLI and FIR of its viewers."""
    @property
    def pictures_resent(self) -> int:
        """Of those, how many were answered with the group of pictures so far; the rest waited for the next key
        frame."""
    @property
    def last_frame_age(self) -> float | None:
        """Seconds since the newest frame arrived; None before the first."""

@final
class ViewerStats:
    """Counters of one viewer since it was added."""

    @property
    def viewer(self) -> int: ...
    @property
    def stream(self) -> int: ...
    @property
    def address(self) -> tuple[str, int] | None:
        """Where its media goes; None before ICE has validated an address."""
    @property
    def transport(self) -> str | None:
        """ "udp" or "tcp", as its media goes; None before ICE has validated an address."""
    @property
    def packets_sent(self) -> int: ...
    @property
    def bytes_sent(self) -> int:
        """Of RTP as sealed."""
    @property
    def packets_resent(self) -> int: ...
    @property
    def nacks_received(self) -> int: ...
    @property
    def fraction_lost(self) -> float:
        """0 to 1, as its receiver reports tell of the latest second."""
    @property
    def round_trip(self) -> float | None:
        """Seconds, from its latest receiver report."""
    @property
    def frames_dropped(self) -> dict[str, int]:
        """As in StreamStats."""
    @property
    def pictures_requested(self) -> int: ...
    @property
    def pictures_resent(self) -> int: ...
    @property
    def share(self) -> str | None:
        """What its network carries of the stream: "Everything" or "KeyFrames"; None before its media has started."""
    @property
    def pace(self) -> int:
        """Bits a second at which it is sent what waits: start burst, key frames, and what it is behind with."""

@final
class EngineStats:
    """A snapshot of the whole engine."""

    @property
    def streams(self) -> list[StreamStats]: ...
    @property
    def viewers(self) -> list[ViewerStats]: ...
    @property
    def packets_dropped(self) -> int:
        """Packets the sockets would not take; NACK may still bring them."""
    @property
    def datagrams_rejected(self) -> int:
        """Received datagrams from no known viewer, or that failed authentication."""
    @property
    def tcp_connections(self) -> int:
        """Accepted and not ended, those that are no viewer's yet included."""
    @property
    def gso(self) -> bool:
        """Whether sends still use UDP_SEGMENT."""

@final
class Engine:
    """Opens the UDP socket, listens for ICE-TCP (RFC 6544) at the same address, and starts the engine's thread.

    "::" takes IPv4 too. Raises OSError where the address cannot be bound and ValueError where `host` is no IP address.
    """

    def __new__(cls, host: str, port: int) -> Engine: ...
    @property
    def local_address(self) -> tuple[str, int]:
        """The bound (ip, port)."""
    @property
    def tcp_address(self) -> tuple[str, int]:
        """Where TCP is accepted: the port is UDP's, unless somebody else had it."""
    def fileno(self) -> int:
        """A descriptor that is readable while events wait; owned by the engine."""
    def events(self) -> list[Event]:
        """Takes all waiting events, oldest first."""
    def heartbeat(self) -> float:
        """Seconds since the engine's thread last went round; it does so at least once a second."""
    def open_stream(self) -> int: ...
    def close_stream(self, stream: int) -> None:
        """Ends its pull and its viewers (each with RTCP BYE and close_notify)."""
    def pull(
        self,
        stream: int,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        transport: str = "auto",
        connect_timeout: float = 10.0,
        picture_timeout: float = 10.0,
        stall_timeout: float = 5.0,
    ) -> int:
        """Starts one RTSP session that feeds the stream, ending an earlier one of that stream first; returns the
        pull's id. Its outcome comes as PullStarted, later PullEnded: within `connect_timeout` seconds until the
        camera plays, `picture_timeout` from the same moment for the first picture, which is a key frame, and
        `stall_timeout` for each further one. `transport` is "tcp", "udp" (or TCP, where the camera refuses
        that), or "auto" (TCP, or UDP). Raises ValueError for a URL that is not rtsp:// or holds user info."""
    def stop_pull(self, stream: int) -> None:
        """Ends the stream's pull with TEARDOWN and without a PullEnded; its viewers stay."""
    def add_viewer(
        self,
        stream: int,
        *,
        local_ufrag: str,
        local_pwd: str,
        remote_ufrag: str,
        payload_type: int,
        ssrc: int,
        cname: str,
        mid: tuple[int, str] | None = None,
        playout_delay: int | None = None,
        rtx: tuple[int, int] | None = None,
    ) -> int:
        """Admits a viewer to ICE; `mid` is (header extension id, value), `playout_delay` the header extension id and
        `rtx` (payload type, SSRC) of retransmissions (RFC 4588), where the offer has them; without it, what is lost is
        sent again as it was. Returns the viewer's id. Media starts with `start_media`."""
    def send_dtls(self, viewer: int, datagram: bytes) -> None:
        """Sends a handshake datagram to where the viewer's last DTLS datagram came from."""
    def start_media(
        self,
        viewer: int,
        *,
        profile: str,
        send_key: bytes,
        send_salt: bytes,
        receive_key: bytes,
        receive_salt: bytes,
        last_flight: bytes,
        close_notify: bytes,
    ) -> None:
        """Hands over the SRTP master keys and starts the burst. `profile` is "SRTP_AEAD_AES_128_GCM" or
        "SRTP_AES128_CM_SHA1_80". From here on the engine answers late handshake records with `last_flight` and
        sends `close_notify` when the viewer is removed. Raises ValueError for keys of the wrong length."""
    def restart_ice(self, viewer: int, *, local_ufrag: str, local_pwd: str, remote_ufrag: str) -> None:
        """Gives the viewer new ICE credentials (RFC 8445, 9). Media stays where it goes, and the old credentials good,
        until a pair is nominated under the new ones; a restart that came to nothing is given up for the next one."""
    def switch(self, viewer: int, stream: int) -> None:
        """Has the viewer go over to another stream of his camera, with the next frame from which he can decode it; then
        Switched follows. Sequence numbers and timestamps go on. Back to the stream that he is on gives it up."""
    def remove_viewer(self, viewer: int) -> None:
        """Sends RTCP BYE and the close_notify, then forgets the viewer. No ViewerEnded follows."""
    def stats(self) -> EngineStats:
        """Asks the engine's thread; waits at most a second, without the GIL. Raises TimeoutError beyond."""
    def close(self) -> None:
        """Ends all viewers and pulls, waiting at most two seconds for TEARDOWN; idempotent."""

def run_floor(targets: list[str], frames: list[list[int]], fps: float, seconds: float) -> tuple[int, float, float]:
    """The floor under the fan-out's figures: seals (AES-128-GCM) and sends each frame's datagrams, whose sizes `frames`
    lists, to each target ("ip:port") at `fps`, with sendmmsg of UDP_SEGMENT messages and nothing else. Returns packets
    sent, CPU seconds of the sending thread and seconds on the clock. Raises ValueError and OSError."""

def run_ingest_floor(urls: list[str], seconds: float) -> tuple[int, float, float]:
    """The floor under the ingest's figures: pulls every URL with retina alone and drops what comes. Returns frames, CPU
    seconds of the pulling thread and seconds on the clock. Raises ValueError and OSError."""
