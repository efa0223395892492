"""A relay process gets its certificate, shows it, renews it while it runs, and believes no stranger."""

import asyncio
import datetime
import ssl

import pytest
from cryptography import x509
from pancar_operator.authority import Authorities, peer
from pancar_proto.v1 import control_pb2 as pb
from rigs.relay import Cameras, Operator, Relay, StartRelay, assignment
from rigs.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def presented(relay: Relay) -> x509.Certificate:
    """The certificate that HTTPS is served with."""
    port = int(relay.url.rpartition(":")[2])
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode())


async def test_it_attaches_as_whom_the_operator_took_it_for(relay: Relay) -> None:
    assert peer(relay.operator.peers[-1]).uid == relay.uid


async def test_https_is_served_before_the_operator_is_there_and_with_its_certificate_after(
    operator: Operator, start_relay: StartRelay
) -> None:
    await operator.stop()
    relay = await start_relay(attached=False, PANCAR_HTTP_LISTEN="0.0.0.0:0")
    assert relay.url.startswith("https://")
    own = await presented(relay)
    assert own.issuer == own.subject
    await operator.start()
    await operator.report(lambda r: r.hello.relay_uid == relay.uid)
    certified = await presented(relay)
    certified.verify_directly_issued_by(operator.issuer.authorities.members[0].certificate)
    assert certified.public_key() == own.public_key()


async def test_a_certificate_is_renewed_without_a_restart(
    operator: Operator, start_relay: StartRelay, camera: Cameras
) -> None:
    operator.behind = datetime.timedelta(hours=17)
    operator.issuer.take(Authorities.new(operator.now() - datetime.timedelta(days=9)))
    operator.authorities.write_bytes(operator.issuer.bundle)
    relay = await start_relay(PANCAR_HTTP_LISTEN="0.0.0.0:0")
    first = await presented(relay)
    await operator.desire(assignment("taman", camera.urls[0]))
    await operator.camera("taman", pb.CAMERA_STATE_LIVE)
    operator.behind = datetime.timedelta()

    async def second() -> bool:
        return (await presented(relay)).not_valid_after_utc > first.not_valid_after_utc

    await eventually(second, "HTTPS is served with the next certificate")
    await eventually(lambda: len(relay.hellos) > 1, "it attaches with the next certificate")
    assert peer(operator.peers[-1]).not_after > peer(operator.peers[0]).not_after
    await eventually(lambda: operator.streams == 1, "the stream before is ended")
    await operator.desire(assignment("taman", camera.urls[0], title="Taman Kota"))
    assert relay.process.poll() is None
    assert relay.events("camera.fault") == []
    assert relay.events("control.detached") == []


async def test_another_authority_is_followed(operator: Operator, start_relay: StartRelay) -> None:
    relay = await start_relay()
    old = operator.issuer.authorities
    new = Authorities.new(operator.now())
    # As its file says before the operator signs with it.
    operator.authorities.write_bytes(old.bundle + new.bundle)
    await eventually(lambda: relay.events("enrol.authorities_changed"), "the file is read again")
    await operator.stop()
    operator.issuer.take(new)
    await operator.start()
    await eventually(
        lambda: relay.events("control.detached"), "its certificate is good for nothing any more", seconds=30.0
    )
    # The old one is withdrawn.
    operator.authorities.write_bytes(new.bundle)
    attached = len(relay.hellos)
    await eventually(lambda: len(relay.hellos) > attached, "it attaches by the new authority", seconds=30.0)
    own = x509.load_pem_x509_certificate(operator.peers[-1])
    own.verify_directly_issued_by(new.members[0].certificate)


async def test_an_operator_that_cannot_be_verified_is_told_nothing(operator: Operator, start_relay: StartRelay) -> None:
    operator.authorities.write_bytes(Authorities.new(operator.now()).bundle)
    relay = await start_relay(attached=False)
    refused = await eventually(lambda: relay.events("enrol.failed"), "it refuses")
    assert "no authority that this relay trusts" in refused[0]["reason"]
    assert (operator.peers, relay.hellos) == ([], [])


async def test_a_relay_that_is_refused_says_so_once_and_goes_on_asking(
    operator: Operator, start_relay: StartRelay
) -> None:
    relay = await start_relay(attached=False, PANCAR_RELAY_UID="stranger")
    await operator.report(lambda r: r.hello.relay_uid == "stranger")
    token = operator.folder / "stranger.token"
    good = token.read_text()
    token.write_text("no token of ours")
    relay = await start_relay(attached=False, PANCAR_TOKEN=str(token))
    refused = await eventually(lambda: relay.events("enrol.failed"), "it is refused")
    assert refused[0]["reason"].startswith("UNAUTHENTICATED")
    await asyncio.sleep(1.0)
    assert len(relay.events("enrol.failed")) == 1
    assert "no token of ours" not in relay.log.read_text()
    # The file is read again each time: tokens of service accounts are exchanged under it.
    token.write_text(good)
    await eventually(lambda: relay.events("enrol.certified"), "it is certified")
