"""A path between Chromium and the relay that loses media: a UDP forwarder, whose address takes the place of the relay's
in the answers that a page gets. It delays nothing and holds no rate."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page

# The page's peer connections, and their answers with candidates as the test wants them.
DIVERT = """
window.peers = [];
const apply = RTCPeerConnection.prototype.setRemoteDescription;
RTCPeerConnection.prototype.setRemoteDescription = async function ({type, sdp}) {
  window.peers.push(this);
  const [, host, port] = sdp.match(/a=candidate:\\S+ 1 udp \\d+ (\\S+) (\\d+) typ host/i);
  const [otherHost, otherPort] = await window.divert(host, Number(port));
  const diverted = sdp.replace(/(a=candidate:\\S+ 1 udp \\d+) \\S+ \\d+/gi, `$1 ${otherHost} ${otherPort}`);
  return apply.call(this, {type, sdp: diverted});
};
"""
INBOUND = """
async () => {
  const reports = [...await window.peers.at(-1).getStats()].map(([, report]) => report);
  return reports.find((report) => report.type === "inbound-rtp" && report.kind === "video");
}
"""


class BadPath:
    """`loss` is the share of the relay's RTP packets that never arrive; retransmissions are among them, and may be lost
    altogether."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.loses_retransmissions = False
        self._media: dict[int, bytes] = {}
        self._dice = random.Random(5)  # noqa: S311 - which packets are lost, no secret
        self._transports: list[asyncio.DatagramTransport] = []

    async def divert(self, host: str, port: int) -> tuple[str, int]:
        """Where the relay at that address is reached over this path."""
        loop = asyncio.get_running_loop()
        far, near = _Far(self), _Near()
        far.out, _ = await loop.create_datagram_endpoint(lambda: near, local_addr=("127.0.0.1", 0))
        near.out, _ = await loop.create_datagram_endpoint(lambda: far, remote_addr=(host, port))
        near.far = far
        self._transports += [far.out, near.out]
        address: tuple[str, int] = far.out.get_extra_info("sockname")
        return address

    def loses(self, session: object, datagram: bytes) -> bool:
        if not 128 <= datagram[0] < 192 or 192 <= datagram[1] < 224:
            return False
        # The first source of a session is the video, the other its retransmissions.
        source = datagram[8:12]
        first = self._media.setdefault(id(session), source)
        return (self.loses_retransmissions and source != first) or self._dice.random() < self.loss

    def close(self) -> None:
        for transport in self._transports:
            transport.close()


class _Far(asyncio.DatagramProtocol):
    """Towards the relay; hands on to the viewer."""

    out: asyncio.DatagramTransport
    viewer: tuple[str, int] | None = None

    def __init__(self, path: BadPath) -> None:
        self._path = path

    def datagram_received(self, data: bytes, _: object) -> None:
        if self.viewer is not None and not self._path.loses(self, data):
            self.out.sendto(data, self.viewer)


class _Near(asyncio.DatagramProtocol):
    """Towards the viewer; hands on to the relay."""

    out: asyncio.DatagramTransport
    far: _Far

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.far.viewer = address
        self.out.sendto(data)


@asynccontextmanager
async def bad_path(page: Page) -> AsyncIterator[BadPath]:
    """From now on the page's sessions go over the path."""
    path = BadPath()
    await page.expose_function("divert", path.divert)
    await page.add_init_script(DIVERT)
    try:
        yield path
    finally:
        path.close()


async def inbound(page: Page) -> dict[str, Any]:
    """What the newest session of the page counts of its video."""
    counted: dict[str, Any] = await page.evaluate(INBOUND)
    return counted
