"""What the wall makes of the Link headers of a relay."""

from collections.abc import Callable
from typing import Any

import pytest
from pancar_relay.viewer.iceservers import IceServers
from pancar_relay.viewer.rights import Viewer

Script = Callable[..., Any]
READ = "return argument.map((header) => modules.iceservers.iceServers(header));"
VIEWER = Viewer("petugas", frozenset({"watch"}), ("*",), 2e9, "kid", "pem", "issuer", "audience")


def test_what_the_relay_writes_is_read(script: Script) -> None:
    servers = IceServers(("stun:stun.example.org", "turn:[2001:db8::5]:3478?transport=udp"), b"secret")
    links = servers.links(VIEWER, 1_900_000_000.0)
    [[stun, turn]] = script(READ, [", ".join(links)])
    assert stun == {"urls": "stun:stun.example.org"}
    assert turn["urls"] == "turn:[2001:db8::5]:3478?transport=udp"
    assert f'username="{turn["username"]}"; credential="{turn["credential"]}"' in links[1]


@pytest.mark.parametrize(
    "header", [None, "", "<", '</wall>; rel="help"', "<turn:a>", '<turn:a>; rel="ice-servers"', ";,;<>;"]
)
def test_whatever_else_there_is_names_no_server(script: Script, header: str | None) -> None:
    assert script(READ, [header]) == [[]]


def test_other_links_stand_beside_them(script: Script) -> None:
    header = '</x>; rel="urn:ietf:params:whep:ext:core:layer", <stun:a>;rel="ice-server"'
    assert script(READ, [header]) == [[{"urls": "stun:a"}]]
