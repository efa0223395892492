"""The viewers of this relay: from an offer, or a counter-offer, to media, and to an end that is always logged.

`viewer.whep` joins, restarts ICE and leaves, `__main__` hands in the engine's events and calls `tick` once a second:
one ticker serves all sessions, for a timer or task of each would cost more memory than the session itself. Runs in the
event loop's thread alone; media does not pass here.
"""

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from aiortc import RTCDtlsFingerprint
from structlog.typing import FilteringBoundLogger

from pancar_relay._engine import DtlsReceived, Engine, Strained, Switched, Video, ViewerEnded
from pancar_relay.desired import CameraKey, MediaAddresses
from pancar_relay.errors import JoinRefusedError
from pancar_relay.ingest.cameras import View
from pancar_relay.viewer.dtls import Certificate, Handshake, HandshakeError, Keys
from pancar_relay.viewer.layers import Layers
from pancar_relay.viewer.negotiate import (
    Codec,
    Local,
    Offer,
    Shape,
    answer,
    candidates,
    choose,
    counter_offer,
    read_counter_answer,
    read_offer,
)
from pancar_relay.viewer.rights import Rights, Viewer
from pancar_relay.viewer.sdpfrag import Fragment

HANDSHAKE_TIMEOUT = 10.0
# Joins that cost or may soon cost CPU: in a handshake, or so young that one is likely. Those whose UDP never arrives
# (a centre that blocks it) stop counting after a second, lest they keep everybody else out.
JOINS_LIMIT = 64
JOIN_IS_YOUNG = 1.0
# All that have not finished, so that their number is bounded at all.
PENDING_LIMIT = 1024
# How long a counter-offer may be answered (draft-ietf-wish-whep-04, 4.3.2, has this where nothing is said).
COUNTER_OFFER_SECONDS = 30.0
# How often a viewer may restart ICE: as often as the engine lets his media move without it, lest it be aimed about.
RESTART_INTERVAL = 1.0
BUSY_RETRY_AFTER = 1
FULL_RETRY_AFTER = 30


@dataclass(slots=True)
class Session:
    """One viewer of one camera. `id` is the secret part of its URL, `number` what a log may say."""

    id: str
    number: int
    viewer: Viewer
    camera: CameraKey
    engine_id: int
    since: float
    shape: Shape
    # Of the newest ICE session, the one that the entity-tag stands for.
    local_ufrag: str
    remote_ufrag: str
    may_restart: float = 0.0

    @property
    def etag(self) -> str:
        """Strong, and another one after each ICE restart (draft-ietf-wish-whep-04, 4.5.1)."""
        return f'"{self.local_ufrag}"'


@dataclass(frozen=True, slots=True)
class CounterOffer:
    """An offer of the relay's own that waits for its answer; `id` will be the session's."""

    id: str
    viewer: Viewer
    camera: CameraKey
    text: str
    local: Local
    expires: float


@dataclass(slots=True)
class _Join:
    """What a session needs only until its media flows."""

    session: Session
    fingerprints: Sequence[RTCDtlsFingerprint]
    handshake: Handshake | None = None
    timer: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class Sessions:
    """All sessions, by id and by the engine's viewer id."""

    def __init__(self, engine: Engine, rights: Rights, media: MediaAddresses, capacity: int, layers: Layers) -> None:
        self._engine = engine
        self._layers = layers
        self._rights = rights
        self._media = media
        self._capacity = capacity
        self._certificate = Certificate.generateCertificate()
        fingerprint = self._certificate.fingerprint()
        self._fingerprint = f"{fingerprint.algorithm} {fingerprint.value}"
        self._by_id: dict[str, Session] = {}
        self._by_engine_id: dict[int, Session] = {}
        self._joins: dict[int, _Join] = {}
        self._counter_offers: dict[str, CounterOffer] = {}
        self._count = 0
        # Bound once: to look it up for each line costs a third of the line.
        self._log: FilteringBoundLogger = structlog.get_logger().bind()
        self.outcomes = {"connected": 0, "refused": 0, "failed": 0}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_id.values())

    def advertise(self, media: MediaAddresses) -> None:
        """Viewers who join from now on are told to send there."""
        self._media = media

    def get(self, session_id: str) -> Session | None:
        return self._by_id.get(session_id)

    def counter_offered(self, session_id: str) -> CounterOffer | None:
        """The counter-offer of that id, while it may be answered."""
        counter = self._counter_offers.get(session_id)
        return counter if counter is not None and time.monotonic() < counter.expires else None

    def join(self, viewer: Viewer, camera: View, offer_text: str) -> tuple[Session, str]:
        """Admits a viewer to a live camera: the session and the answer to his offer.

        Raises NegotiationError for the offer, JoinRefusedError when there is no room for him now.
        """
        self._admit(now := time.monotonic())
        offer = read_offer(offer_text)
        codec = choose(offer.shape.codecs, _video(camera).profile_level_id)
        local = self._local()
        session = self._start(secrets.token_urlsafe(24), viewer, camera, offer, codec, local, now)
        return session, answer(offer, codec, local)

    def make_counter_offer(self, viewer: Viewer, camera: View) -> CounterOffer:
        """An offer for whom `join` found no common codec with. Raises JoinRefusedError."""
        self._admit(now := time.monotonic())
        local = self._local()
        counter = CounterOffer(
            id=secrets.token_urlsafe(24),
            viewer=viewer,
            camera=camera.key,
            text=counter_offer(_video(camera).profile_level_id, local),
            local=local,
            expires=now + COUNTER_OFFER_SECONDS,
        )
        self._counter_offers[counter.id] = counter
        return counter

    def take_answer(self, counter: CounterOffer, viewer: Viewer, camera: View, answer_text: str) -> Session:
        """Admits the viewer who answers a counter-offer. Raises NegotiationError, after which he may answer again, and
        JoinRefusedError."""
        self._admit(now := time.monotonic())
        answered = read_counter_answer(answer_text)
        codec = choose(answered.shape.codecs, _video(camera).profile_level_id)
        del self._counter_offers[counter.id]
        return self._start(counter.id, viewer, camera, answered, codec, counter.local, now)

    def restart_ice(self, session: Session, asked: Fragment) -> Fragment:
        """Begins a new ICE session beside the one that carries the media; the relay's side of it.

        Raises JoinRefusedError for one that follows too soon on the last.
        """
        now = time.monotonic()
        if now < session.may_restart:
            raise JoinRefusedError("ICE was restarted a moment ago.", BUSY_RETRY_AFTER)
        session.may_restart = now + RESTART_INTERVAL
        local = self._local()
        session.local_ufrag, session.remote_ufrag = local.ice_ufrag, asked.ufrag
        self._engine.restart_ice(
            session.engine_id, local_ufrag=local.ice_ufrag, local_pwd=local.ice_pwd, remote_ufrag=asked.ufrag
        )
        return Fragment(
            ufrag=local.ice_ufrag,
            pwd=local.ice_pwd,
            media=asked.media,
            mid=asked.mid,
            candidates=candidates(local.media),
            complete=True,
            lite=True,
        )

    def _local(self) -> Local:
        ssrc = secrets.randbelow(0xFFFF_FFFF) + 1
        return Local(
            media=self._media,
            ice_ufrag=secrets.token_hex(4),
            ice_pwd=secrets.token_hex(16),
            fingerprint=self._fingerprint,
            ssrc=ssrc,
            # Random as well, and another.
            rtx_ssrc=ssrc ^ (secrets.randbelow(0xFFFF_FFFF) + 1),
            cname=secrets.token_hex(8),
        )

    def _start(
        self, session_id: str, viewer: Viewer, camera: View, offer: Offer, codec: Codec, local: Local, now: float
    ) -> Session:
        if camera.stream is None:
            raise ValueError(f"{camera.key} is not live")
        shape = offer.shape
        engine_id = self._engine.add_viewer(
            camera.stream,
            local_ufrag=local.ice_ufrag,
            local_pwd=local.ice_pwd,
            remote_ufrag=offer.ice_ufrag,
            payload_type=codec.payload_type,
            ssrc=local.ssrc,
            cname=local.cname,
            mid=(shape.mid_extension, shape.mid) if shape.mid_extension is not None else None,
            playout_delay=shape.playout_delay_extension,
            rtx=(codec.rtx_payload_type, local.rtx_ssrc) if codec.rtx_payload_type is not None else None,
        )
        self._count += 1
        session = Session(
            id=session_id,
            number=self._count,
            viewer=viewer,
            camera=camera.key,
            engine_id=engine_id,
            since=now,
            shape=shape,
            local_ufrag=local.ice_ufrag,
            remote_ufrag=offer.ice_ufrag,
        )
        self._by_id[session.id] = self._by_engine_id[engine_id] = session
        self._joins[engine_id] = _Join(session, offer.fingerprints)
        self._log.info("session.started", session=session.number, subject=viewer.subject, camera=str(camera.key))
        return session

    def leave(self, session: Session, reason: str) -> None:
        """Ends a session: RTCP BYE and close_notify to the viewer, a line in the log."""
        if self._by_id.get(session.id) is session:
            self._engine.remove_viewer(session.engine_id)
            self._forget(session, reason)

    def on_event(self, event: DtlsReceived | ViewerEnded | Switched | Strained) -> None:
        session = self._by_engine_id.get(event.viewer)
        if session is None:
            return
        match event:
            case ViewerEnded():
                self._forget(session, event.reason)
            case Switched() | Strained():
                self._layers.on_event(event, session.camera)
            case DtlsReceived() if join := self._joins.get(event.viewer):
                self._handshake(join, event.datagram)

    def tick(self, now: float, wall: float) -> None:
        """Ends the sessions whose right has ended and the joins that take too long; `now` is monotonic seconds, `wall`
        seconds since the epoch."""
        # One token's sessions share its Viewer, so that this asks once a token.
        viewers = {id(session.viewer): session.viewer for session in self._by_id.values()}
        ended = {key for key, viewer in viewers.items() if not self._rights.holds(viewer, wall)}
        if ended:
            for session in [session for session in self._by_id.values() if id(session.viewer) in ended]:
                self.leave(session, "RightEnded")
        for counter in [counter for counter in self._counter_offers.values() if counter.expires <= now]:
            del self._counter_offers[counter.id]
        self._layers.tick(now)
        for join in list(self._joins.values()):
            if now - join.session.since > HANDSHAKE_TIMEOUT:
                self.leave(join.session, "HandshakeTimeout")

    def close(self) -> None:
        for session in list(self._by_id.values()):
            self.leave(session, "Shutdown")

    def _admit(self, now: float) -> None:
        in_flight = sum(
            join.handshake is not None or now - join.session.since < JOIN_IS_YOUNG for join in self._joins.values()
        )
        pending = len(self._joins) + len(self._counter_offers)
        if in_flight >= JOINS_LIMIT or pending >= PENDING_LIMIT:
            self.outcomes["refused"] += 1
            raise JoinRefusedError("Too many viewers are joining at this moment.", BUSY_RETRY_AFTER)
        if len(self._by_id) >= self._capacity:
            self.outcomes["refused"] += 1
            raise JoinRefusedError(f"This relay serves its {self._capacity} viewers already.", FULL_RETRY_AFTER)

    def _handshake(self, join: _Join, datagram: bytes) -> None:
        session = join.session
        if join.handshake is None:
            send = partial(self._engine.send_dtls, session.engine_id)
            join.handshake = Handshake(self._certificate, list(join.fingerprints), send)
        try:
            keys = join.handshake.receive(datagram)
        except HandshakeError as error:
            self._log.warning("session.handshake_failed", session=session.number, error=str(error))
            self.leave(session, "HandshakeFailed")
            return
        if keys is None:
            self._await_answer(join, join.handshake)
            return
        join.stop()
        del self._joins[session.engine_id]
        self._hand_over(session, keys)
        self.outcomes["connected"] += 1

    def _await_answer(self, join: _Join, handshake: Handshake) -> None:
        join.stop()
        timeout = handshake.timeout()
        if timeout is not None:
            join.timer = asyncio.get_running_loop().call_later(timeout, self._resend, join, handshake)

    def _resend(self, join: _Join, handshake: Handshake) -> None:
        handshake.resend()
        self._await_answer(join, handshake)

    def _hand_over(self, session: Session, keys: Keys) -> None:
        self._engine.start_media(
            session.engine_id,
            profile=keys.profile,
            send_key=keys.send_key,
            send_salt=keys.send_salt,
            receive_key=keys.receive_key,
            receive_salt=keys.receive_salt,
            last_flight=keys.last_flight,
            close_notify=keys.close_notify,
        )

    def _forget(self, session: Session, reason: str) -> None:
        del self._by_id[session.id]
        del self._by_engine_id[session.engine_id]
        self._layers.forget(session.engine_id)
        join = self._joins.pop(session.engine_id, None)
        if join is not None:
            self.outcomes["failed"] += 1
            join.stop()
        self._log.info(
            "session.ended",
            session=session.number,
            subject=session.viewer.subject,
            camera=str(session.camera),
            reason=reason,
            seconds=round(time.monotonic() - session.since, 1),
        )


def _video(camera: View) -> Video:
    if camera.video is None:
        raise ValueError(f"{camera.key} is not live")
    return camera.video
