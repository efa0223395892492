"""What HTTPS is served with: the certificate that was given, else the relay's own, exchanged without a restart.

`__main__` makes it; `enrol` hands in each certificate that the operator gives.
"""

import os
import ssl

from pancar_proto.channel import Pair

from pancar_relay.errors import SettingsError
from pancar_relay.settings import Tls


class Https:
    """New connections see what was last presented; those that stand are left alone."""

    def __init__(self, context: ssl.SSLContext, *, given: bool) -> None:
        self.context = context
        self._given = given

    @classmethod
    def given(cls, tls: Tls) -> "Https":
        """Raises SettingsError for files that hold no certificate with its key."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(f"PANCAR_TLS_CERTIFICATE and PANCAR_TLS_KEY do not load as a pair: {error}") from error
        return cls(context, given=True)

    @classmethod
    def own(cls, pair: Pair) -> "Https":
        https = cls(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), given=False)
        https.present(pair)
        return https

    def present(self, pair: Pair) -> None:
        """Serves with `pair` from now on, unless one was given."""
        if self._given:
            return
        # OpenSSL reads a file here; this one is in memory and has no name.
        descriptor = os.memfd_create("pancar-https", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(pair.key + pair.certificates)
            self.context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
