"""A whole RTSP session on a fake wire, and what the server does with clients that err, sleep or attack."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.demo.rtsp import h264
from pancar_cli.demo.rtsp.auth import Guard, digest
from pancar_cli.demo.rtsp.connection import (
    REPORT_INTERVAL,
    SESSION_TIMEOUT,
    Began,
    Closed,
    Connection,
    Ended,
    Event,
    Offer,
    Playing,
    Tokens,
)
from pancar_cli.demo.rtsp.messages import interleaved

URL = "rtsp://10.0.0.1:554/main"
TOKENS = Tokens("5e5510", "90c3", ssrc=0xCAFE, sequence=0xFFFF, offset=0xFFFF_FFF0)
DESCRIPTION = h264.Description("Gate", bytes.fromhex("6742c01fda01"), bytes.fromhex("68ce3c80"))
GUARD = Guard("viewer", "secret")
PLAIN = Offer(DESCRIPTION, now=0x30)
SESSION = {"Session": TOKENS.session}


Answer = tuple[int, dict[str, str], str]


class Wire:
    """A client of few words. Time stands still unless it is moved."""

    def __init__(self, offer: Offer | None = PLAIN) -> None:
        self.now = 100.0
        self.events: list[Event] = []
        self.connection = Connection(lambda path: offer if path == "main" else None, TOKENS, "10.0.0.1", self.now)
        self._sequence = 0

    def ask(self, method: str, uri: str = URL, headers: dict[str, str] | None = None) -> Answer:
        self._sequence += 1
        lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {self._sequence}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.events += self.connection.receive("\r\n".join([*lines, "", ""]).encode(), self.now)
        head, _, body = self.connection.outgoing().decode().partition("\r\n\r\n")
        first, *rest = head.split("\r\n")
        answer = dict(line.split(": ", 1) for line in rest)
        assert answer["CSeq"] == str(self._sequence)
        assert int(answer.get("Content-Length", "0")) == len(body.encode())
        return int(first.split()[1]), answer, body

    def set_up(self) -> dict[str, str]:
        status, answer, _ = self.ask(
            "SETUP", f"{URL}/{h264.TRACK}", {"Transport": "RTP/AVP/TCP;unicast;interleaved=4-5"}
        )
        assert status == 200
        return answer

    def play(self) -> None:
        self.set_up()
        assert self.ask("PLAY", headers=SESSION)[0] == 200
        assert self.connection.playing

    def packets(self) -> list[tuple[int, bytes]]:
        data, found = self.connection.outgoing(), []
        while data:
            assert data[0] == 0x24
            end = 4 + int.from_bytes(data[2:4], "big")
            found.append((data[1], data[4:end]))
            data = data[end:]
        return found


def test_a_session_from_options_to_teardown() -> None:
    wire = Wire()
    assert "DESCRIBE" in wire.ask("OPTIONS", "*")[1]["Public"]
    status, answer, sdp = wire.ask("DESCRIBE")
    assert (status, answer["Content-Type"], answer["Content-Base"]) == (200, "application/sdp", URL + "/")
    assert f"a=control:{h264.TRACK}" in sdp
    answer = wire.set_up()
    assert "interleaved=4-5" in answer["Transport"]
    assert answer["Session"] == f"{TOKENS.session};timeout={SESSION_TIMEOUT:.0f}"
    status, answer, _ = wire.ask("PLAY", headers=SESSION)
    assert answer["RTP-Info"] == f"url={URL}/{h264.TRACK};seq=65535;rtptime={0x20}"
    assert wire.ask("GET_PARAMETER", headers=SESSION)[0] == 200
    assert wire.ask("TEARDOWN", headers=SESSION)[0] == 200
    assert wire.events == [Began("main"), Playing(), Ended()]
    assert not wire.connection.playing


def test_pictures_are_numbered_and_timed() -> None:
    wire = Wire()
    wire.play()
    wire.connection.send(h264.AccessUnit((b"\x67a", b"\x65b"), 0x20, captured=50.0, key=True))
    wire.connection.send(h264.AccessUnit((b"\x41c",), 0x20 + 6000, captured=50.0 + 6000 / 90_000, key=False))
    headers = [(channel, struct.unpack("!BBHII", packet[:12]), packet[12:]) for channel, packet in wire.packets()]
    assert headers == [
        (4, (0x80, 96, 0xFFFF, 0x10, 0xCAFE), b"\x67a"),
        (4, (0x80, 96 | 0x80, 0, 0x10, 0xCAFE), b"\x65b"),
        (4, (0x80, 96 | 0x80, 1, 0x10 + 6000, 0xCAFE), b"\x41c"),
    ]


def test_sender_reports_map_time() -> None:
    wire = Wire()
    wire.play()
    wire.connection.send(h264.AccessUnit((b"\x65b",), 0x20, captured=50.0, key=True))
    wire.packets()
    deadline = wire.connection.deadline
    assert deadline is not None
    assert deadline - wire.now <= REPORT_INTERVAL
    assert wire.connection.tick(deadline, wall=50.5) == []
    ((channel, report),) = wire.packets()
    _, kind, length, ssrc, ntp, timestamp, packets, octets = struct.unpack("!BBHIQIII", report[:28])
    assert (channel, kind, length, ssrc, packets, octets) == (5, 200, 6, 0xCAFE, 1, 2)
    assert ntp / 2**32 - 2_208_988_800 == pytest.approx(50.5)
    assert timestamp == 0x10 + 45_000
    assert report[28:30] == b"\x81\xca"
    assert len(report) % 4 == 0


def test_nothing_is_sent_before_play_and_after_teardown() -> None:
    wire = Wire()
    unit = h264.AccessUnit((b"\x65b",), 0, captured=0.0, key=True)
    wire.set_up()
    wire.connection.send(unit)
    assert wire.packets() == []
    assert wire.ask("PLAY", headers=SESSION)[0] == 200
    assert wire.ask("TEARDOWN", headers=SESSION)[0] == 200
    wire.connection.send(unit)
    assert wire.packets() == []


def test_a_silent_client_expires_and_one_that_reports_does_not() -> None:
    wire = Wire()
    wire.play()
    wire.now += SESSION_TIMEOUT - 1
    assert wire.connection.receive(interleaved(5, b"\x80\xc9\0\1\0\0\0\0"), wire.now) == []
    assert wire.connection.tick(wire.now + SESSION_TIMEOUT - 1, 0.0) == []
    assert [type(event) for event in wire.connection.tick(wire.now + SESSION_TIMEOUT, 0.0)] == [Closed]
    assert wire.connection.deadline is None
    assert not wire.connection.playing


def test_the_end_of_the_source_is_told() -> None:
    wire = Wire()
    wire.play()
    assert [type(event) for event in wire.connection.end_stream()] == [Closed]
    ((channel, packet),) = wire.packets()
    assert (channel, packet) == (5, struct.pack("!BBHI", 0x81, 203, 1, 0xCAFE))


def test_a_password_is_wanted_for_all_that_tells_or_gives() -> None:
    wire = Wire(Offer(DESCRIPTION, GUARD))
    assert wire.ask("OPTIONS")[0] == 200
    for method in ("DESCRIBE", "SETUP"):
        status, answer, body = wire.ask(method, headers={"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"})
        assert (status, body) == (401, "")
        assert f'nonce="{TOKENS.nonce}"' in answer["WWW-Authenticate"]
    response = digest(GUARD.username, GUARD.realm, GUARD.password, "DESCRIBE", URL, TOKENS.nonce)
    fields = {"username": "viewer", "realm": "camera", "nonce": TOKENS.nonce, "uri": URL, "response": response}
    header = "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
    assert wire.ask("DESCRIBE", headers={"Authorization": header})[0] == 200
    assert wire.events == []


@pytest.mark.parametrize(
    ("offer", "method", "uri", "headers", "status"),
    [
        (PLAIN, "DESCRIBE", "rtsp://h/other", {}, 404),
        (PLAIN, "DESCRIBE", "http://h/main", {}, 404),
        (PLAIN, "DESCRIBE", "rtsp://[::1/main", {}, 404),
        (PLAIN, "RECORD", URL, {}, 405),
        (PLAIN, "DESCRIBE", URL, {"Require": "funky"}, 551),
        (PLAIN, "SETUP", URL, {"Transport": "RTP/AVP;unicast;client_port=5000-5001"}, 461),
        (PLAIN, "SETUP", URL, {"Transport": "RTP/AVP/TCP;multicast;interleaved=0-1"}, 461),
        (PLAIN, "SETUP", URL, {"Transport": "RTP/AVP/TCP;unicast;interleaved=3-3"}, 461),
        (PLAIN, "SETUP", URL, {"Transport": "RTP/AVP/TCP;unicast;interleaved=300-301"}, 461),
        (PLAIN, "SETUP", URL, {"Transport": "RTP/AVP/TCP;unicast", "Session": "other"}, 454),
        (PLAIN, "PLAY", URL, {"Session": "other"}, 454),
        (PLAIN, "TEARDOWN", URL, {}, 454),
        (Offer(None), "DESCRIBE", URL, {}, 503),
        (Offer(DESCRIPTION, vacant=False), "SETUP", URL, {"Transport": "RTP/AVP/TCP;unicast"}, 453),
    ],
)
def test_refusals(offer: Offer, method: str, uri: str, headers: dict[str, str], status: int) -> None:
    wire = Wire(offer)
    assert wire.ask(method, uri, headers)[0] == status
    assert wire.events == []
    assert wire.connection.deadline is not None


def test_udp_is_refused_but_tcp_beside_it_is_taken() -> None:
    wire = Wire()
    both = "RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=2-3"
    status, answer, _ = wire.ask("SETUP", headers={"Transport": both})
    assert status == 200
    assert "interleaved=2-3" in answer["Transport"]


def test_a_second_session_on_one_connection_is_refused() -> None:
    wire = Wire()
    wire.set_up()
    assert wire.ask("SETUP", headers={"Transport": "RTP/AVP/TCP;unicast"})[0] == 459
    assert wire.ask("PLAY", headers=SESSION)[0] == 200
    assert wire.ask("SETUP", headers={"Transport": "RTP/AVP/TCP;unicast"})[0] == 455
    assert wire.events == [Began("main"), Playing()]


def test_bad_bytes_are_answered_once_and_end_it() -> None:
    wire = Wire()
    wire.play()
    (event,) = wire.connection.receive(b"\x01\x02\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n", wire.now)
    assert isinstance(event, Closed)
    assert re.fullmatch(rb"RTSP/1\.0 400 Bad Request\r\n\r\n", wire.connection.outgoing())
    assert wire.connection.receive(b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n", wire.now) == []
    assert wire.connection.outgoing() == b""


lines = st.one_of(
    st.sampled_from(["CSeq: 1", "Session: 5e5510", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Require: x"]),
    st.text(max_size=40),
)
methods = st.sampled_from(["OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER", "NONSENSE"])
uris = st.one_of(st.sampled_from([URL, "*", "rtsp://h/"]), st.text(max_size=30))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    head = [f"{draw(methods)} {draw(uris)} RTSP/1.0", "CSeq: 1", *draw(st.lists(lines, max_size=4))]
    return "\r\n".join([*head, "", ""]).encode(errors="surrogatepass")


@given(st.lists(st.one_of(requests(), st.binary(max_size=50)), max_size=10))
def test_whatever_comes_sessions_balance(chunks: list[bytes]) -> None:
    """No input raises; a session begins only after the last one ended, and nothing happens once it is closed."""
    wire = Wire()
    for chunk in chunks:
        wire.events += wire.connection.receive(chunk, wire.now)
        wire.connection.send(h264.AccessUnit((b"\x65b",), 0, captured=0.0, key=True))
        wire.connection.outgoing()
    open_sessions = 0
    for event in wire.events:
        assert not isinstance(event, Playing) or open_sessions == 1
        open_sessions += {Began: 1, Ended: -1}.get(type(event), 0)
        assert open_sessions in (0, 1)
    closed = [isinstance(event, Closed) for event in wire.events]
    assert not any(closed[:-1])
    assert (wire.connection.deadline is None) == any(closed)
