"""The wall's player uses the STUN and TURN servers that its relay names."""

from pathlib import Path

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

SECRET = "what the TURN server knows too"
REMEMBER = """
globalThis.peers = [];
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...args) {
    super(...args);
    globalThis.peers.push(this);
  }
};
"""


async def test_the_wall_gathers_with_the_servers_it_is_given(
    cameras: Cameras, up: Runs, screen: Screen, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    source = cameras(number=43)
    options = ("--turn", "stun:127.0.0.1:9", "--turn", "turn:127.0.0.1:9?transport=udp", "--turn-secret", secret)
    async with up(camera("gate", source), options=options) as run:
        await run.until("gate", "Live")
        await screen.page.add_init_script(REMEMBER)
        await screen.enter(run.link)
        # Nothing listens there: pictures come without.
        await screen.tile("gate").until("live")
        servers = await screen.page.evaluate("globalThis.peers.at(-1).getConfiguration().iceServers")
        assert [server["urls"] for server in servers] == [["stun:127.0.0.1:9"], ["turn:127.0.0.1:9?transport=udp"]]
        assert servers[1]["username"].partition(":")[0].isdigit()
        assert servers[1]["credential"]
        assert SECRET not in run.output + run.relay_log
        assert servers[1]["credential"] not in run.output + run.relay_log
