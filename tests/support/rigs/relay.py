"""A relay process with both its ends: an operator over real gRPC, cameras over real RTSP. Fixtures of tests/relay."""

import asyncio
import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pancar_operator.authority import Authorities, Enrolled, Issuer
from pancar_operator.enrol import Enrolment, ProcessTokens
from pancar_operator.model import Key
from pancar_proto.channel import server
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import ControlPlaneServicer, add_ControlPlaneServicer_to_server
from rigs.waiting import eventually

ISSUER = AUDIENCE = "pancar"
PASSWORD = "kata-sandi-rahasia"
START_SECONDS = 90.0
_STARTED = re.compile(r'"url": ?"([^"]+)"')


class Minter:
    """Signs tokens as the operator does."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.kid = hashlib.sha256(self.pem.encode()).hexdigest()[:16]

    def token(self, *, ttl: float = 3600.0, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        now = time.time()
        full = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "tester",
            "iat": now,
            "exp": now + ttl,
            "jti": os.urandom(8).hex(),
            "scope": "watch",
            "cameras": ["*"],
        }
        return jwt.encode(full | claims, self.key, algorithm="ES256", headers={"kid": self.kid} | (headers or {}))

    def access(self, *links: pb.Link) -> pb.Access:
        keys = [pb.VerificationKey(kid=self.kid, pem=self.pem)]
        return pb.Access(keys=keys, issuer=ISSUER, audience=AUDIENCE, links=links)

    def link(self, code: str, *, ttl: float = 60.0, **claims: Any) -> pb.Link:
        link = pb.Link(code_sha256=hashlib.sha256(code.encode()).digest(), token=self.token(**claims))
        link.not_after.FromNanoseconds(int((time.time() + ttl) * 1e9))
        return link


class Certifier:
    """Where relays enrol, and all that they are told to find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = f"unix:{folder}/control.sock"
        self.enrolling = f"unix:{folder}/enrol.sock"
        self.authorities = folder / "ca.crt"
        # How far its clock is behind; certificates made now are so old already.
        self.behind = datetime.timedelta()
        self.issuer = Issuer(Authorities.new(self.now()), self.now)
        self.tokens = ProcessTokens()
        self.authorities.write_bytes(self.issuer.bundle)

    def now(self) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) - self.behind

    async def start(self) -> None:
        self._enrolling, _ = Enrolment(self.issuer, self.tokens.verify).listen(self.enrolling)
        await self._enrolling.start()

    async def stop(self) -> None:
        await self._enrolling.stop(0.1)

    def settings(self, uid: str) -> dict[str, str]:
        """What a relay process is told to find this operator, and to be believed."""
        token = self.folder / f"{uid}.token"
        token.write_text(self.tokens.issue(Enrolled(uid, Key("default", "default"), addresses=("127.0.0.1",))))
        return {
            "PANCAR_RELAY_UID": uid,
            "PANCAR_CONTROL": self.target,
            "PANCAR_ENROL": self.enrolling,
            "PANCAR_CONTROL_AUTHORITIES": str(self.authorities),
            "PANCAR_TOKEN": str(token),
            "PANCAR_LOG_FORMAT": "json",
        }


class Operator(Certifier, ControlPlaneServicer):
    """The operator's end: sends Attach what it is given, keeps what it hears."""

    def __init__(self, minter: Minter, folder: Path) -> None:
        super().__init__(folder)
        self.minter = minter
        self.heard: list[pb.Report] = []
        # Certificates of the relays that attached, PEM, one for each stream; and the streams that stand.
        self.peers: list[bytes] = []
        self.streams = 0
        self._attached: dict[str, asyncio.Event] = {}
        self._desired = pb.Desired(term=1, version=1, access=minter.access())
        self._told = asyncio.Condition()

    async def start(self) -> None:
        await super().start()
        self._serving, _ = server(self.target, self.issuer.current, clients=True)
        add_ControlPlaneServicer_to_server(self, self._serving)
        await self._serving.start()

    async def stop(self) -> None:
        await self._serving.stop(0.1)
        await super().stop()

    async def Attach(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.Desired]:  # noqa: N802 - gRPC's name
        self.peers.append(context.auth_context()["x509_pem_cert"][0])
        self.streams += 1
        closed = asyncio.Event()
        reader = asyncio.create_task(self._listen(request_iterator, closed))
        sent: pb.Desired | None = None
        try:
            while not closed.is_set():
                if sent is not self._desired:
                    yield (sent := self._desired)
                async with self._told:
                    await self._told.wait_for(lambda: closed.is_set() or self._desired is not sent)
        finally:
            self.streams -= 1
            reader.cancel()
        if closed not in self._attached.values():
            await context.abort(grpc.StatusCode.ABORTED, "the same relay attached again")

    async def _listen(self, reports: Any, closed: asyncio.Event) -> None:
        async for report in reports:
            async with self._told:
                self.heard.append(report)
                if report.HasField("hello"):
                    # A relay has one stream; the one before ends.
                    if (before := self._attached.get(report.hello.relay_uid)) is not None:
                        before.set()
                    self._attached[report.hello.relay_uid] = closed
                self._told.notify_all()
        async with self._told:
            closed.set()
            self._told.notify_all()

    def withdraw(self) -> None:
        """Desires no camera of whoever attaches next."""
        self._desired = pb.Desired(
            term=self._desired.term, version=self._desired.version + 1, access=self.minter.access()
        )

    async def admit(self, *links: pb.Link) -> None:
        """Desires the same cameras, with these links."""
        await self.desire(*self._desired.assignments, access=self.minter.access(*links))

    async def desire(
        self,
        *assignments: pb.Assignment,
        term: int = 1,
        access: pb.Access | None = None,
        media_addresses: Sequence[str] = (),
        media_tcp_addresses: Sequence[str] = (),
    ) -> pb.Ack:
        """Sends a new desired state and waits for its acknowledgement."""
        version = self._desired.version + 1
        desired = pb.Desired(
            term=term,
            version=version,
            assignments=assignments,
            access=access or self.minter.access(),
            media_addresses=media_addresses,
            media_tcp_addresses=media_tcp_addresses,
        )
        async with self._told:
            self._desired = desired
            self._told.notify_all()
        found = await self.report(lambda r: r.HasField("ack") and (r.ack.term, r.ack.version) == (term, version))
        return found.ack

    async def report(self, wanted: Callable[[pb.Report], bool], timeout: float = 20.0) -> pb.Report:  # noqa: ASYNC109
        """The latest report of that kind, waited for."""

        def find() -> pb.Report | None:
            return next((report for report in reversed(self.heard) if wanted(report)), None)

        async with asyncio.timeout(timeout), self._told:
            await self._told.wait_for(lambda: find() is not None)
        found = find()
        assert found is not None
        return found

    async def camera(self, name: str, state: "pb.CameraState.ValueType", timeout: float = 20.0) -> pb.CameraStatus:  # noqa: ASYNC109
        """The camera's latest status, once it is `state`."""
        await self.report(
            lambda r: r.camera.name == name and r is self._latest(name) and r.camera.state == state, timeout
        )
        latest = self._latest(name)
        assert latest is not None
        return latest.camera

    def _latest(self, name: str) -> pb.Report | None:
        return next((r for r in reversed(self.heard) if r.HasField("camera") and r.camera.name == name), None)


@dataclass(frozen=True, slots=True)
class Running:
    """A relay process that serves."""

    process: subprocess.Popen[bytes]
    uid: str
    url: str
    log: Path

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What it logged: all of it, or events of this name."""
        lines = self.log.read_text().splitlines(keepends=True)
        # It is read while it is written, by libraries too that know no JSON.
        logged = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
        return [event for event in logged if not name or event["event"] == name]

    async def ended(self, seconds: float = 30.0) -> int:
        """Its exit code, waited for."""
        return await asyncio.to_thread(self.process.wait, seconds)


@dataclass(frozen=True, slots=True)
class Relay(Running):
    """One and the operator it dials."""

    operator: Operator

    @property
    def hellos(self) -> list[pb.Hello]:
        """What it said at the beginning of each stream."""
        return [report.hello for report in self.operator.heard if report.hello.relay_uid == self.uid]

    @property
    def hello(self) -> pb.Hello:
        return self.hellos[-1]

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.operator.minter.token(**claims)}"}


class Cameras:
    """Our own synthetic RTSP cameras, in a process."""

    def __init__(self, *arguments: str, password: str | None = None) -> None:
        environment = os.environ | ({"PANCAR_DEMO_PASSWORD": password} if password else {})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pancar_cli.demo.cameras", "--lifeline", "--size", "320x180", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        count = int(arguments[arguments.index("--count") + 1]) if "--count" in arguments else 1
        assert self._process.stdout is not None
        self.urls = [str(json.loads(self._process.stdout.readline())["url"]) for _ in range(count)]

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def assignment(name: str, url: str, **fields: Any) -> pb.Assignment:
    main = pb.Source(url=url, username=fields.pop("username", ""), password=fields.pop("password", ""))
    return pb.Assignment(namespace="kota", name=name, main=main, **fields)


@pytest.fixture(scope="session")
def minter() -> Minter:
    return Minter()


@pytest.fixture(scope="session")
def camera() -> Iterator[Cameras]:
    """One camera that stays."""
    cameras = Cameras("--gop", "1")
    yield cameras
    cameras.close()


@asynccontextmanager
async def operating(minter: Minter) -> AsyncIterator[Operator]:
    """An operator; its folder is short because of the 108 bytes of a socket's path."""
    with tempfile.TemporaryDirectory(prefix="pancar") as folder:
        operator = Operator(minter, Path(folder))
        await operator.start()
        yield operator
        await operator.stop()


@asynccontextmanager
async def running(certifier: Certifier, folder: Path, **settings: str) -> AsyncIterator[Running]:
    """A relay process that serves, whoever is there to attach to; keyword arguments are further settings."""
    uid = settings.get("PANCAR_RELAY_UID", uuid.uuid4().hex)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PANCAR_")},
        **certifier.settings(uid),
        "PANCAR_HTTP_LISTEN": "127.0.0.1:0",
        **settings,
    }
    log = folder / f"{uid}-{uuid.uuid4().hex[:4]}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220 - forks, does not wait
            [sys.executable, "-m", "pancar_relay"], env=environment, stderr=stderr
        )
    try:
        started = await eventually(lambda: _STARTED.search(log.read_text()), "the relay starts", seconds=START_SECONDS)
        yield Running(process, uid, started[1], log)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            # One that drains takes a second word.
            process.kill()
            process.wait()


@asynccontextmanager
async def relaying(operator: Operator, folder: Path, *, attached: bool = True, **settings: str) -> AsyncIterator[Relay]:
    """A relay process that, unless told otherwise, is attached to `operator`."""
    before = len(operator.heard)

    def heard() -> bool:
        return {"hello", "ack"} <= {report.WhichOneof("kind") for report in operator.heard[before:]}

    async with running(operator, folder, **settings) as relay:
        if attached:
            await eventually(heard, f"the relay attaches; its log: {relay.log}", seconds=START_SECONDS)
        yield Relay(relay.process, relay.uid, relay.url, relay.log, operator)


@pytest_asyncio.fixture(loop_scope="module")
async def operator(minter: Minter) -> AsyncIterator[Operator]:
    async with operating(minter) as operator:
        yield operator


StartRelay = Callable[..., Awaitable[Relay]]


@pytest_asyncio.fixture(loop_scope="module")
async def start_relay(operator: Operator, tmp_path: Path) -> AsyncIterator[StartRelay]:
    async with AsyncExitStack() as started:

        async def start(*, attached: bool = True, **settings: str) -> Relay:
            return await started.enter_async_context(relaying(operator, tmp_path, attached=attached, **settings))

        yield start


@pytest_asyncio.fixture(loop_scope="module")
async def relay(start_relay: StartRelay) -> Relay:
    """A relay of the test's own, without cameras yet."""
    return await start_relay()


DEAD = "rtsp://127.0.0.1:1/main"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(minter: Minter, camera: Cameras, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Relay]:
    """A relay that tests of a module share: one camera is live, one dead, one paused."""
    secret = {"username": "admin", "password": PASSWORD}
    async with operating(minter) as operator, relaying(operator, tmp_path_factory.mktemp("city")) as relay:
        await operator.desire(
            assignment("taman", camera.urls[0], title="Taman Kota", site="Pusat", **secret),
            assignment("mati", DEAD, **secret),
            assignment("sunyi", DEAD, paused=True, paused_reason="Pemakaman"),
        )
        await operator.camera("taman", pb.CAMERA_STATE_LIVE)
        await operator.camera("mati", pb.CAMERA_STATE_OFFLINE)
        yield relay


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session
