"""SRTP against libsrtp, which aiortc opens it with: both profiles, and packets that were lost and come again."""

import random

import pytest
from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    RTCDtlsTransport,
    SRTPProtectionProfile,
)
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs, Up
from rigs.viewer import Viewer


def transport(viewer: Viewer) -> RTCDtlsTransport:
    return viewer._peer.getTransceivers()[0].receiver.transport


@pytest.mark.parametrize("profile", [SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80], ids=["GCM", "CM"])
async def test_plays_with_the_one_profile_a_viewer_has(
    profile: SRTPProtectionProfile, cameras: Cameras, up: Runs
) -> None:
    source = cameras(number=7)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        viewer = Viewer(run, "gate")
        transport(viewer)._srtp_profiles = [profile]
        async with viewer:
            await viewer.watch(30)
        assert {seen.camera for _, seen in viewer.seen} == {7}


async def test_lost_packets_come_again(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=8, width=640, height=360, gop=150)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        viewer = Viewer(run, "gate")
        _lose(transport(viewer), share=0.05)
        async with viewer:
            # More than the cache holds, which comes at once.
            await viewer.watch(150, seconds=40)
            resent = await _resent(run)
        assert resent > 0
        # With a GOP of ten seconds one packet that stays lost would spoil most of the pictures.
        assert viewer.unread <= viewer.frames // 10


def _lose(dtls: RTCDtlsTransport, share: float) -> None:
    """Loses that share of the media packets on the way to the viewer."""
    ice, dice = dtls.transport, random.Random(1)  # noqa: S311 - which packets are lost, no secret
    receive = ice._recv

    async def lossy() -> bytes:
        while True:
            data: bytes = await receive()
            media = 128 <= data[0] < 192 and not 192 <= data[1] < 224
            if not media or dice.random() >= share:
                return data

    ice._recv = lossy


async def _resent(run: Up) -> int:
    lines = (await run.get("/metrics")).splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("pancar_camera_packets_resent_total"))
