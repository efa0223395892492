"""The sockets that HTTP is served on, the relay's and the operator's health alike. gRPC binds its own."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """Listens for TCP at an IP address; "::" takes IPv4 too, which asyncio by itself keeps from it, and IPv4 alone on a
    host without IPv6. Raises OSError where nobody can listen there."""
    wildcard = host == "::"
    if wildcard and not socket.has_dualstack_ipv6():
        host, wildcard = "0.0.0.0", False  # noqa: S104 - what it was told
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, dualstack_ipv6=wildcard)
