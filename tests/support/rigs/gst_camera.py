"""A camera made of GStreamer's RTSP server, with nothing of Pancar's in it. Run by `rigs.camera` under the system's
Python, which has GStreamer's bindings.

Takes one JSON object of settings as its argument, listens where they say, prints {"port": ...}, then answers
each line of standard input ("stats", "freeze", "thaw") with a JSON line. Ends with its standard input.
"""

import functools
import json
import operator
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")

from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from rigs import picture  # noqa: E402

METHODS = {"digest": GstRtsp.RTSPAuthMethod.DIGEST, "basic": GstRtsp.RTSPAuthMethod.BASIC}
TRANSPORTS = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}
SILENCE = b"\xd5"  # A-law, 8000 samples a second


class Tally:
    """Who has connected and who is being sent pictures."""

    def __init__(self, limit: int | None, timeout: int) -> None:
        self._limit = limit
        self._timeout = timeout
        self._playing: set[tuple[int, str]] = set()
        self._clients = 0
        self.counts = {"connections": 0, "describes": 0, "refused": 0, "sessions_total": 0, "sessions_most": 0}

    def connected(self, _server: Any, client: Any) -> None:
        self._clients += 1
        self.counts["connections"] += 1
        client.connect("describe-request", lambda *_: self._count("describes"))
        client.connect("pre-setup-request", self._may_set_up)
        client.connect("play-request", self._plays)
        client.connect("teardown-request", lambda client, context: self._ends(client, context.session.get_sessionid()))
        client.connect("closed", self._closed)

    def _count(self, name: str) -> None:
        self.counts[name] += 1

    def _may_set_up(self, client: Any, _context: Any) -> Any:
        others = [session for session in self._playing if session[0] != hash(client)]
        if self._limit is not None and len(others) >= self._limit:
            self._count("refused")
            return GstRtsp.RTSPStatusCode.NOT_ENOUGH_BANDWIDTH
        return GstRtsp.RTSPStatusCode.OK

    def _plays(self, client: Any, context: Any) -> None:
        context.session.set_timeout(self._timeout)
        session = (hash(client), context.session.get_sessionid())
        if session not in self._playing:
            self._playing.add(session)
            self._count("sessions_total")
            self.counts["sessions_most"] = max(self.counts["sessions_most"], len(self._playing))

    def _ends(self, client: Any, session: str) -> None:
        self._playing.discard((hash(client), session))

    def _closed(self, client: Any) -> None:
        self._clients -= 1
        self._playing = {session for session in self._playing if session[0] != hash(client)}

    def stats(self) -> dict[str, int]:
        return {**self.counts, "sessions": len(self._playing), "clients": self._clients}


class Lens:
    """Paints frames at their rate into the media that is being served, if there is any and it is not frozen; beside
    them, where the camera has a microphone, silence."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._source: Any = None
        self._microphone: Any = None
        self.frozen = False
        self.frames = 0

    def attach(self, _factory: Any, media: Any) -> None:
        self._microphone = media.get_element().get_by_name("microphone")
        self._source = media.get_element().get_by_name("source")
        media.connect("unprepared", self._detach)

    def _detach(self, _media: Any) -> None:
        self._source = self._microphone = None

    def run(self) -> None:
        number, width, height = (self._settings[name] for name in ("number", "width", "height"))
        started = time.monotonic()
        while True:
            self.frames += 1
            time.sleep(max(0.0, started + self.frames / self._settings["fps"] - time.monotonic()))
            source = self._source
            if source is not None and not self.frozen and has_base_time(source):
                painted = picture.paint(number, self.frames, width, height)
                source.emit("push-buffer", Gst.Buffer.new_wrapped(painted))
                if (microphone := self._microphone) is not None:
                    microphone.emit("push-buffer", Gst.Buffer.new_wrapped(SILENCE * (8000 // self._settings["fps"])))


def has_base_time(source: Any) -> bool:
    """Whether the pipeline has told it. A frame pushed sooner is stamped with the machine's clock, minutes
    ahead, and the server holds it, and all that come after it, until then."""
    return bool(source.get_state(0).state == Gst.State.PLAYING)


def pipeline(settings: dict[str, Any]) -> str:
    high = settings["profile"] == "high"
    speed = "veryfast cabac=true dct8x8=true" if high else "ultrafast"
    tune = "" if settings["b_frames"] else "tune=zerolatency"
    video = (
        "appsrc name=source is-live=true do-timestamp=true format=time"
        " caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1,colorimetry=bt709"
        f" ! queue ! x264enc speed-preset={speed} {tune} threads=1 bframes={{b_frames}} key-int-max={{gop}}"
        " bitrate={kbps} option-string=scenecut=0 ! video/x-h264,profile={profile}"
        f" ! rtph264pay name=pay0 pt=96 config-interval={-1 if settings['in_band'] else 0}"
    ).format_map(settings)
    # Not audiotestsrc: it is seekable, and the server then refuses to PLAY the two together.
    audio = (
        " appsrc name=microphone is-live=true do-timestamp=true format=time caps=audio/x-alaw,rate=8000,channels=1"
        " ! queue ! rtppcmapay name=pay1 pt=8"
    )
    return f"( {video}{audio if settings['audio'] else ''} )"


def protect(server: Any, factory: Any, settings: dict[str, Any]) -> None:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(METHODS[settings["auth"]])
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    user, password = settings["username"], settings["password"]
    if settings["auth"] == "digest":
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    role, _ = Gst.Structure.from_string(
        "viewer, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
    )
    factory.add_role_from_structure(role)


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def obey(loop: Any, tally: Tally, lens: Lens) -> None:
    for line in sys.stdin:
        command = line.strip()
        if command in ("freeze", "thaw"):
            lens.frozen = command == "freeze"
        say({**tally.stats(), "frames": lens.frames})
    loop.quit()


def main() -> None:
    settings = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(settings["address"])
    server.set_service(str(settings["port"]))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(settings))
    factory.set_shared(True)
    factory.set_latency(0)
    factory.set_protocols(functools.reduce(operator.or_, (TRANSPORTS[name] for name in settings["transports"])))
    lens, tally = Lens(settings), Tally(settings["session_limit"], settings["session_timeout"])
    factory.connect("media-configure", lens.attach)
    if settings["auth"]:
        protect(server, factory, settings)
    server.get_mount_points().add_factory("/live", factory)
    server.connect("client-connected", tally.connected)
    # Sessions that nobody keeps alive end.
    GLib.timeout_add_seconds(1, lambda: server.get_session_pool().cleanup() >= 0)
    if not server.attach(None):
        sys.exit(f"cannot listen on port {settings['port']}")
    say({"port": server.get_bound_port()})
    loop = GLib.MainLoop()
    for thread in (
        threading.Thread(target=lens.run, daemon=True),
        threading.Thread(target=obey, args=(loop, tally, lens)),
    ):
        thread.start()
    loop.run()


if __name__ == "__main__":
    main()
