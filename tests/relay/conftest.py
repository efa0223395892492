"""The fixtures of a relay process; see rigs.relay."""

from rigs.relay import camera, http, minter, operator, relay, start_relay

__all__ = ["camera", "http", "minter", "operator", "relay", "start_relay"]
