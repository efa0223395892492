"""The server on real sockets: a camera that loses its power, one with few sessions, and a client that does not read."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from pancar_cli.demo.rtsp import h264
from pancar_cli.demo.rtsp.server import Server, Stream
from rigs.waiting import eventually

DESCRIPTION = h264.Description("Gate", bytes.fromhex("6742c01fda01"), bytes.fromhex("68ce3c80"))
KEY = h264.AccessUnit((b"\x65key",), 0, captured=0.0, key=True)
DELTA = h264.AccessUnit((b"\x41delta",), 3000, captured=0.0, key=False)


class Client:
    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/main"
        self.reader, self.writer = reader, writer
        self.session = ""

    async def ask(self, method: str, *headers: str) -> int:
        lines = [f"{method} {self.url} RTSP/1.0", "CSeq: 1", *headers]
        if self.session:
            lines.append(f"Session: {self.session}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        answer = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        for line in answer.split("\r\n"):
            if line.startswith("Session: "):
                self.session = line[9:].partition(";")[0]
        return int(answer.split()[1])

    async def play(self) -> None:
        assert await self.ask("SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1") == 200
        assert await self.ask("PLAY") == 200

    async def payload(self) -> bytes:
        head = await self.reader.readexactly(4)
        return (await self.reader.readexactly(int.from_bytes(head[2:], "big")))[12:]


class Rig:
    def __init__(self) -> None:
        self.key_frames_wanted = 0
        self.stream = Stream(description=DESCRIPTION, want_key_frame=self._want_key_frame)
        self.server = Server({"main": self.stream})
        self.port = 0
        self.clients: list[Client] = []

    def _want_key_frame(self) -> None:
        self.key_frames_wanted += 1

    async def client(self) -> Client:
        client = Client(self.port, *await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    made.port = await made.server.listen("127.0.0.1", 0)
    yield made
    await made.server.close()
    for client in made.clients:
        client.writer.close()


async def test_playing_starts_with_a_key_frame(rig: Rig) -> None:
    client = await rig.client()
    await client.play()
    assert rig.key_frames_wanted == 1
    for unit in (DELTA, KEY, DELTA):
        rig.stream.publish(unit)
    assert [await client.payload(), await client.payload()] == [b"\x65key", b"\x41delta"]


async def test_sessions_beyond_the_limit_are_refused_until_one_ends(rig: Rig) -> None:
    rig.stream.max_sessions = 1
    first, second = await rig.client(), await rig.client()
    await first.play()
    assert await second.ask("SETUP", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1") == 453
    assert await first.ask("TEARDOWN") == 200
    await second.play()
    second.writer.close()
    await eventually(lambda: not rig.stream.sessions, "the session ended with its connection", seconds=5)


async def test_a_camera_without_power_refuses_and_comes_back(rig: Rig) -> None:
    client = await rig.client()
    await client.play()
    rig.server.vanish()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await client.payload()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", rig.port)
    assert await rig.server.listen("127.0.0.1", rig.port) == rig.port
    returned = await rig.client()
    await returned.play()
    rig.stream.publish(KEY)
    assert await returned.payload() == b"\x65key"


async def test_a_client_that_does_not_read_loses_pictures_and_holds_up_nobody(rig: Rig) -> None:
    stuck, reading = await rig.client(), await rig.client()
    await stuck.play()
    await reading.play()
    large = h264.AccessUnit(tuple(b"\x65" + b"x" * 1300 for _ in range(200)), 0, captured=0.0, key=True)
    assert isinstance(stuck.writer.transport, asyncio.Transport)
    stuck.writer.transport.pause_reading()
    sent = 0
    async with asyncio.timeout(20):
        while not rig.stream.dropped:
            rig.stream.publish(large)
            sent += 1
            for _ in large.payloads:
                assert len(await reading.payload()) == 1301
    assert sent > 1
    rig.stream.publish(DELTA)
    rig.stream.publish(KEY)
    assert await reading.payload() == b"\x41delta"
    assert await reading.payload() == b"\x65key"


async def test_connections_are_bounded(rig: Rig) -> None:
    rig.server.max_connections = 1
    first, second = await rig.client(), await rig.client()
    assert await first.ask("OPTIONS") == 200
    assert await second.reader.read() == b""
