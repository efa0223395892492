"""The fixtures of a relay process; see rigs.relay."""

from rigs.relay import camera, city, http, minter, operator, relay, start_relay

__all__ = ["camera", "city", "http", "minter", "operator", "relay", "start_relay"]
