"""What is wrong with a camera is named by its cause, as the camera itself answered."""

from rigs.camera import Cameras
from rigs.manifests import camera
from rigs.up import Runs


async def test_each_fault_is_named(cameras: Cameras, up: Runs) -> None:
    b_frames = cameras(profile="high", b_frames=2)
    full = cameras(session_limit=0)
    locked = cameras(auth="digest", username="operator", password="s3cret")
    hung = cameras()
    hung.hang()
    expected = {
        "b-frames": ("BFrames", camera("b-frames", b_frames)),
        "full": ("SessionLimit", camera("full", full)),
        "locked": ("Unauthorized", camera("locked", locked)),
        "absent": ("NotFound", camera("absent", full.url + "/elsewhere")),
        # Of no port that somebody else may get in the meantime.
        "closed": ("Refused", camera("closed", "rtsp://127.0.0.1:1/live")),
        "hung": ("Timeout", camera("hung", hung)),
    }
    async with up(*(document for _, document in expected.values())) as run:
        for name, (reason, _) in expected.items():
            offline = await run.until(name, "Offline", reason=reason, seconds=25)
            assert offline["message"], f"{reason} says what is wrong and who mends it"
