"""What can go wrong in the relay, by whose fault it was.

    RelayError
    ├── SettingsError            the environment the process was started with; it does not start
    ├── StaleDesiredError        the operator's: a state of an older term, or one already overtaken
    ├── CertificateError         the operator's, or of what was kept: a key or certificate that is none of ours
    ├── NegotiationError         the viewer's offer
    │   └── NoCommonCodecError   a well-formed offer that leaves out every H.264 we could send
    ├── FragmentError            the viewer's: what he patched is no sound ICE fragment
    ├── dtls.HandshakeError      the viewer's DTLS
    ├── TokenError               the viewer's token or link
    │   └── LinkRefusedError     a one-time code that is unknown, used or past its time
    ├── JoinRefusedError         ours, for the moment: retryable after `retry_after` seconds
    └── problems.HttpError       an answer other than success, as HTTP shows the ones above

Faults of a camera are no exceptions: they arrive as events, see `ingest.faults`.
"""


class RelayError(Exception):
    """Root of the tree."""


class SettingsError(RelayError):
    """The environment does not describe a relay that could run."""


class StaleDesiredError(RelayError):
    """A desired state that a newer one has overtaken."""


class CertificateError(RelayError):
    """A key, certificate or authority that is not what it is taken for."""


class NegotiationError(RelayError):
    """The offer cannot be answered; the message says what is wrong with it."""


class NoCommonCodecError(NegotiationError):
    """The offer is sound, but holds no H.264 in packetization-mode 1."""


class FragmentError(RelayError):
    """The trickle-ice-sdpfrag cannot be taken; the message says what is wrong with it."""


class TokenError(RelayError):
    """The token gives no right, or none any more."""


class LinkRefusedError(TokenError):
    """The one-time code buys nothing."""


class JoinRefusedError(RelayError):
    """No viewer can be admitted, or let have another ICE session, right now."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
