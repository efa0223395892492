"""Gets the relay its certificate from the operator, and keeps it good for as long as the process runs.

`__main__` runs `Enrolment.run` beside everything else; `control` dials by the `Credentials` it holds. Nothing waits for
it but control: a relay without a certificate serves whom it may, an old certificate is only not renewed.

    authorities file ─┐
    kept certificate ─┼──► Credentials ──► control, HTTPS
    Enrol's answer ───┘
"""

import asyncio
import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass

import grpc.aio
import structlog
from pancar_proto.channel import Pair, channel
from pancar_proto.v1 import control_pb2 as pb
from pancar_proto.v1.control_pb2_grpc import EnrolmentStub

from pancar_relay.certificates import Chain, Key, check_authorities
from pancar_relay.errors import CertificateError, SettingsError
from pancar_relay.kept import Kept
from pancar_relay.settings import Enrolling

log = structlog.get_logger()

# Longer than the operator takes to have a token reviewed.
ENROL_TIMEOUT = 12.0
# Seconds before asking again: doubled from first to last, jittered.
BACKOFF_FIRST = 0.1
BACKOFF_LAST = 5.0
# How often the file of the authorities is looked at.
REREAD = 5.0
LEAST_LIFE = datetime.timedelta(seconds=2)
_KEY = "key.pem"
_CERTIFICATES = "certificates.pem"


@dataclass(frozen=True, slots=True)
class Credentials:
    """By what the relay knows the operator, and the operator it."""

    authorities: bytes
    pair: Pair


def own_key(kept: Kept | None) -> Key:
    """The key of the process before, else a new one."""
    pem = kept.read(_KEY) if kept is not None else None
    if pem is not None:
        try:
            return Key.read(pem)
        except CertificateError as error:
            log.warning("enrol.key_discarded", reason=str(error))
    key = Key.make()
    if kept is not None:
        kept.write(_KEY, key.pem())
    return key


class Enrolment:
    """What was heard last of the authorities counts: their file as it changes, and the operator's own word.

    Raises SettingsError where the file holds none at the start.
    """

    def __init__(
        self, enrolling: Enrolling, key: Key, kept: Kept | None, present: Callable[[Pair], None] | None
    ) -> None:
        self._enrolling = enrolling
        self._key = key
        self._kept = kept
        self._present = present
        self._chain: Chain | None = None
        self._renew_at = datetime.datetime.now(datetime.UTC)
        self._changed = asyncio.Event()
        self._complaints: dict[str, str] = {}
        try:
            self._file = self._authorities = check_authorities(enrolling.authorities.read_bytes())
        except (OSError, CertificateError) as error:
            raise SettingsError(f"PANCAR_CONTROL_AUTHORITIES cannot be used: {error}") from error
        self.current: Credentials | None = None

    async def run(self) -> None:
        """Never returns; to be cancelled."""
        self._take_kept()
        wait = BACKOFF_FIRST
        while True:
            self._reread()
            rest = (self._renew_at - datetime.datetime.now(datetime.UTC)).total_seconds()
            if rest > 0.0:
                await asyncio.sleep(min(rest, REREAD))
            elif await self._enrol():
                wait = BACKOFF_FIRST
            else:
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
                wait = min(BACKOFF_LAST, wait * 2)

    async def other_than(self, seen: Credentials | None) -> Credentials:
        """The credentials that hold, waited for where there are none yet or only those."""
        while self.current is None or self.current == seen:
            self._changed.clear()
            await self._changed.wait()
        return self.current

    async def _enrol(self) -> bool:
        try:
            answer = await self._ask(self._enrolling.token.read_text().strip())
            self._certify(answer)
        except grpc.aio.AioRpcError as error:
            self._complain("operator", _refusal(error))
        except (OSError, UnicodeDecodeError) as error:
            self._complain("operator", f"the token cannot be read: {error}")
        except CertificateError as error:
            self._complain("operator", f"the operator's answer cannot be used: {error}")
        else:
            self._complaints.clear()
            return True
        return False

    async def _ask(self, token: str) -> pb.EnrolResponse:
        async with channel(self._enrolling.target, self._authorities) as opened:
            request = pb.EnrolRequest(csr=self._key.request(), token=token)
            answer: pb.EnrolResponse = await EnrolmentStub(opened).Enrol(request, timeout=ENROL_TIMEOUT)
            return answer

    def _certify(self, answer: pb.EnrolResponse) -> None:
        authorities = check_authorities(answer.authorities)
        chain = Chain.read(answer.certificates, self._key)
        if not chain.issued_by(authorities) or chain.expired(datetime.datetime.now(datetime.UTC)):
            raise CertificateError("none of its authorities has issued it, or it has expired already")
        self._authorities = authorities
        self._take(chain)
        # By a clock that is far ahead the next one would be due at once, for ever.
        self._renew_at = max(self._renew_at, datetime.datetime.now(datetime.UTC) + LEAST_LIFE)
        if self._kept is not None:
            self._kept.write(_CERTIFICATES, chain.pem())
        log.info("enrol.certified", until=chain.not_after.isoformat(), renewed_at=self._renew_at.isoformat())

    def _take_kept(self) -> None:
        pem = self._kept.read(_CERTIFICATES) if self._kept is not None else None
        if pem is None:
            return
        try:
            chain = Chain.read(pem, self._key)
        except CertificateError as error:
            log.warning("enrol.certificate_discarded", reason=str(error))
            return
        if chain.issued_by(self._authorities) and not chain.expired(datetime.datetime.now(datetime.UTC)):
            self._take(chain)

    def _take(self, chain: Chain) -> None:
        self._chain = chain
        self._renew_at = chain.renew_at(random.random())  # noqa: S311 - jitter, not a secret
        pair = Pair(chain.pem(), self._key.pem())
        if self._present is not None:
            self._present(pair)
        self._hold(pair)

    def _reread(self) -> None:
        """Follows the file of the authorities; while it cannot be read the last ones stay."""
        try:
            found = self._enrolling.authorities.read_bytes()
            if found == self._file:
                return
            self._authorities = check_authorities(found)
        except (OSError, CertificateError) as error:
            self._complain("authorities", f"the authorities cannot be read: {error}")
            return
        self._file = found
        log.info("enrol.authorities_changed")
        if self._chain is None:
            return
        if not self._chain.issued_by(self._authorities):
            self._renew_at = datetime.datetime.now(datetime.UTC)
        self._hold(Pair(self._chain.pem(), self._key.pem()))

    def _hold(self, pair: Pair) -> None:
        credentials = Credentials(self._authorities, pair)
        if credentials != self.current:
            self.current = credentials
            self._changed.set()

    def _complain(self, about: str, reason: str) -> None:
        """Once for each reason, however often it is tried."""
        if self._complaints.get(about) != reason:
            self._complaints[about] = reason
            log.warning("enrol.failed", target=self._enrolling.target, reason=reason)


def _refusal(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    _, unverified, why = details.partition("CERTIFICATE_VERIFY_FAILED")
    if unverified:
        # It may be another operator, or a clock that is wrong: OpenSSL says which.
        return f"who answers there is vouched for by no authority that this relay trusts{why[:200]}"
    return f"{error.code().name}: {details}"
