"""How the two ends of the control plane open their gRPC connection: the operator calls `server`, a relay `channel`.

Both ends must agree on keepalive and message sizes, so the options have their one home here. It is TLS on every
address. The operator's certificate names SERVER_NAME, whatever it is dialled as; a relay's names its pool and UID
(`pancar_operator.authority`). Neither end needs a restart for a new certificate: the server asks for its own at every
connection, a relay opens another channel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast

import grpc
import grpc.aio

# What the operator's certificate is for: relays dial it by Service name, address or unix socket.
SERVER_NAME: Final = "pancar-operator"

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
    # Who connects and then says nothing; gRPC waits two minutes.
    ("grpc.server_handshake_timeout_ms", 10_000),
)
CHANNEL_OPTIONS: Final = (
    *_COMMON,
    ("grpc.initial_reconnect_backoff_ms", 100),
    # It is an attempt's deadline, TLS handshake included; one refused is tried again after the backoff.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # The operator's Service may lead elsewhere a moment later; gRPC's own floor is 30 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # Channels of one process to one address would otherwise share a connection and its fate.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain, its own certificate first, and its private key; both PEM."""

    certificates: bytes
    key: bytes = field(repr=False)


def channel(target: str, authorities: bytes, pair: Pair | None = None) -> grpc.aio.Channel:
    """A channel to `target` ("host:port" or "unix:/path"); it connects lazily and reconnects by itself.

    It speaks only to an operator certified by one of `authorities` (PEM), and shows `pair` where that asks for it.
    """
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authorities,
        private_key=pair.key if pair else None,
        certificate_chain=pair.certificates if pair else None,
    )
    options = (*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", SERVER_NAME))
    return grpc.aio.secure_channel(target, credentials, options=options)


def server(target: str, current: Callable[[], tuple[Pair, bytes]], *, clients: bool) -> tuple[grpc.aio.Server, int]:
    """A server bound to `target` ("host:port" or "unix:/path"), not yet started, and its port (0 takes any free one).

    `current` gives its certificate and the authorities (PEM) it takes clients' certificates from; gRPC's own thread
    calls it at every connection. With `clients` a client must show a certificate, without it none is asked for.
    Raises OSError where the address cannot be bound.
    """
    listening = grpc.aio.server(options=SERVER_OPTIONS)
    try:
        return listening, listening.add_secure_port(target, _credentials(current, clients=clients))
    except RuntimeError as error:
        raise OSError(f"cannot listen on {target}") from error


def _credentials(current: Callable[[], tuple[Pair, bytes]], *, clients: bool) -> grpc.ServerCredentials:
    def configuration(pair: Pair, authorities: bytes) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(pair.key, pair.certificates)], root_certificates=authorities if clients else None
        )

    told = current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # To give the same again is no harmless habit: gRPC swaps its context then, under handshakes that go on in it,
        # and a hundred relays that come at once end the process.
        nonlocal told
        now = current()
        if now == told:
            return None
        told = now
        return configuration(*now)

    # Its type stub does not know that nothing may have changed.
    fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", changed)
    return grpc.dynamic_ssl_server_credentials(configuration(*told), fetcher, require_client_authentication=clients)
