"""A browser without a decoder for H.264, such as Firefox where its plugin cannot be fetched, is told so on each tile,
and plays as soon as it has one."""

from rigs.camera import Cameras
from rigs.chromium import Screen
from rigs.manifests import camera
from rigs.up import Runs

# Offers VP8 alone until `restore()`.
WITHOUT_H264 = """
(() => {
  const prototype = RTCRtpTransceiver.prototype;
  const original = prototype.setCodecPreferences;
  globalThis.restore = () => { prototype.setCodecPreferences = original; };
  prototype.setCodecPreferences = function () {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    original.call(this, codecs.filter(({ mimeType }) => mimeType === "video/VP8"));
  };
})();
"""


async def test_what_is_missing_is_told_and_waited_for(cameras: Cameras, up: Runs, screen: Screen) -> None:
    source = cameras(number=71)
    async with up(camera("gate", source)) as run:
        await run.until("gate", "Live")
        await screen.page.add_init_script(WITHOUT_H264)
        await screen.enter(run.link)
        tile = screen.tile("gate")
        await tile.until("not-playable")
        assert "OpenH264 plugin" in await tile.text()
        await screen.shot("without-decoder")
        await screen.page.evaluate("restore()")
        await tile.until("live", seconds=30)
        assert (await tile.moves()).camera == 71
