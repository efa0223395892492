"""How the two ends of the control plane open their gRPC connection: the operator calls `server`, a relay `channel`.

Both ends must agree on keepalive and message sizes, so the options have their one home here. An address without
transport security may only be a unix socket, whose folder's mode is the access control; anything else is refused.
"""

from typing import Final

import grpc.aio

# A full Desired of 200 cameras is about 100 KiB; this leaves room for ten thousand of them.
MESSAGE_BYTES: Final = 16 * 1024 * 1024

# A dead peer is noticed after keepalive time + timeout: 8 s.
KEEPALIVE_TIME_MS: Final = 5_000
KEEPALIVE_TIMEOUT_MS: Final = 3_000

_COMMON: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS: Final = (
    *_COMMON,
    # gRPC's own floor of 5 minutes would make a server cut off a peer that pings every 5 s (too_many_pings).
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_TIME_MS // 2),
    ("grpc.so_reuseport", 0),
)
CHANNEL_OPTIONS: Final = (
    *_COMMON,
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Channels of one process to one address would otherwise share a connection and its fate.
    ("grpc.use_local_subchannel_pool", 1),
)

UNIX: Final = "unix:"


def channel(target: str) -> grpc.aio.Channel:
    """A channel to `target` ("unix:/path"); it connects lazily and reconnects by itself.

    Raises ValueError where the target would carry the control plane in the clear over a network.
    """
    _require_private(target)
    return grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)


def server(target: str) -> grpc.aio.Server:
    """A server bound to `target` ("unix:/path"), not yet started.

    Raises ValueError like `channel`, and OSError where the address cannot be bound.
    """
    _require_private(target)
    listening = grpc.aio.server(options=SERVER_OPTIONS)
    try:
        listening.add_insecure_port(target)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {target}") from error
    return listening


def _require_private(target: str) -> None:
    if not target.startswith(UNIX):
        raise ValueError("the control plane without TLS is for unix sockets only: the address must begin with unix:")
