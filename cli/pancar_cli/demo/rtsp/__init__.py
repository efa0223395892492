"""An RTSP 1.0 server (RFC 2326) that gives H.264 over interleaved TCP.

`connection.Connection` is the protocol without I/O; `server.Server` moves its bytes with asyncio. The demo's cameras
use it today; RTSP output to video recorders is meant to use it unchanged.
"""
