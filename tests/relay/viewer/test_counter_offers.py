"""Counter-offers of the relay's own, without a network."""

from types import SimpleNamespace
from typing import cast

import pytest
from pancar_relay._engine import Engine
from pancar_relay.desired import CameraKey, MediaAddresses
from pancar_relay.errors import JoinRefusedError
from pancar_relay.ingest.cameras import Cameras, View
from pancar_relay.viewer.layers import Layers
from pancar_relay.viewer.negotiate import Local, counter_offer, read_counter_answer
from pancar_relay.viewer.rights import Rights, Viewer
from pancar_relay.viewer.sessions import COUNTER_OFFER_SECONDS, PENDING_LIMIT, Sessions
from rigs.whep import FINGERPRINT, counter_answer, video

LOCAL = Local(MediaAddresses((("192.0.2.10", 40000),)), f"sha-256 {FINGERPRINT}", "abcdefgh", "p" * 32, 7, 8, "cname")
VIEWER = Viewer("petugas", frozenset({"watch"}), ("*",), 2e9, "kid", "pem", "issuer", "audience")
# Of a camera, all that a counter-offer is made from.
LIVE = cast(View, SimpleNamespace(key=CameraKey("kota", "taman"), video=SimpleNamespace(profile_level_id="640028")))


@pytest.mark.parametrize(
    ("profile", "offered"),
    [("640028", ["640028", "42e01f", "42001f"]), ("42e01f", ["42e01f", "42001f"])],
)
def test_the_cameras_own_profile_comes_first(profile: str, offered: list[str]) -> None:
    section = video(counter_offer(profile, LOCAL))
    assert [codec.parameters["profile-level-id"] for codec in section.rtp.codecs] == offered
    assert section.fmt == [codec.payloadType for codec in section.rtp.codecs]
    assert [(s.ssrc, s.cname) for s in section.ssrc] == [(LOCAL.ssrc, LOCAL.cname)]


def test_the_viewer_chooses() -> None:
    chosen = "a=rtpmap:98 H264/90000\na=fmtp:98 packetization-mode=1;profile-level-id=42001f\n"
    text = counter_answer(counter_offer("640028", LOCAL), codec=chosen).replace("SAVPF 96", "SAVPF 98")
    answered = read_counter_answer(text)
    assert [(codec.payload_type, codec.profile_level_id) for codec in answered.shape.codecs] == [(98, "42001f")]
    assert answered.ice_ufrag == "frag"


@pytest.fixture
def sessions() -> Sessions:
    engine = Engine("127.0.0.1", 0)
    media = MediaAddresses((("127.0.0.1", 40000),))
    return Sessions(engine, Rights(), media, capacity=10, layers=Layers(engine, Cameras(engine)))


def test_it_runs_out(sessions: Sessions) -> None:
    counter = sessions.make_counter_offer(VIEWER, LIVE)
    sessions.tick(counter.expires - 0.1, 0.0)
    assert sessions.counter_offered(counter.id) is counter
    sessions.tick(counter.expires, 0.0)
    assert sessions.counter_offered(counter.id) is None


def test_those_that_wait_are_bounded(sessions: Sessions) -> None:
    counters = [sessions.make_counter_offer(VIEWER, LIVE) for _ in range(PENDING_LIMIT)]
    with pytest.raises(JoinRefusedError):
        sessions.make_counter_offer(VIEWER, LIVE)
    sessions.tick(counters[-1].expires + COUNTER_OFFER_SECONDS, 0.0)
    assert sessions.make_counter_offer(VIEWER, LIVE)
