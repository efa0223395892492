"""A player that offers no H.264 is offered it (draft-ietf-wish-whep-04, 4.3.2), and plays once it has answered."""

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCSessionDescription
from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs
from rigs.viewer import Viewer


class Hesitant(Viewer):
    """Offers VP8 alone, and answers with all that it has."""

    async def join(self) -> None:
        capabilities = RTCRtpReceiver.getCapabilities("video")
        assert capabilities is not None
        vp8 = [codec for codec in capabilities.codecs if codec.mimeType == "video/VP8"]
        self._peer.getTransceivers()[0].setCodecPreferences(vp8)
        await self._peer.setLocalDescription(await self._peer.createOffer())
        headers = self._headers | {"Content-Type": "application/sdp"}
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.post(self._address, data=self._peer.localDescription.sdp) as response:
                assert response.status == 406
                url, offered = self._base + response.headers["Location"], await response.text()
            # aiortc cannot roll an offer back.
            await self._peer.close()
            self._peer = RTCPeerConnection()
            self._peer.on("track", self._on_track)
            await self._peer.setRemoteDescription(RTCSessionDescription(offered, "offer"))
            await self._peer.setLocalDescription(await self._peer.createAnswer())
            async with http.patch(url, data=self._peer.localDescription.sdp) as response:
                assert response.status == 204, await response.text()
        self._session = url


async def test_pictures_come_after_the_answer_to_a_counter_offer(cameras: Cameras, up: Runs) -> None:
    source = cameras(number=17)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        async with Hesitant(run, "gate") as viewer:
            await viewer.watch(30)
        assert {seen.camera for _, seen in viewer.seen} == {17}
