"""Requests that fail: made again with growing pauses, told of while they fail, and forgotten when nobody asks."""

import pytest
from pancar_operator.api import ApiError, ApiUnreachable
from pancar_operator.attempts import LAST_PAUSE, Attempts, Obstacle, Task
from pancar_operator.model import Key

POOL, OTHER = Key("kota", "city"), Key("kota", "police")


class Scene:
    """A request on a clock of its own; it fails while there is an error."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.error: Exception | None = None
        self.made: list[float] = []
        self.attempts = Attempts(lambda: self.now)

    async def _do(self) -> None:
        self.made.append(self.now)
        if self.error is not None:
            raise self.error

    def task(self, body: object = "it", pool: Key = POOL, what: str = "StatefulSet kota/city") -> Task:
        return Task(pool, what, body, self._do)

    async def pass_seconds(self, seconds: float, body: object = "it") -> list[float]:
        """Asks for it as often as it says that it may be made; when it was, counted from now."""
        start, self.made = self.now, []
        while self.now < start + seconds:
            wait = await self.attempts.make([self.task(body)])
            self.now += wait or 0.1
        self.now = start + seconds
        return [round(at - start, 3) for at in self.made]


async def test_what_fails_is_made_again_ever_less_often() -> None:
    scene = Scene()
    scene.error = ApiError(500, "InternalError", "/path: no")
    assert await scene.pass_seconds(200) == [0, 1, 3, 7, 15, 31, 63, 123, 183]
    scene.error = None
    assert len(await scene.pass_seconds(LAST_PAUSE)) == 1


async def test_what_somebody_undoes_each_time_is_made_ever_less_often_too() -> None:
    assert await Scene().pass_seconds(30) == pytest.approx([0, 1, 3, 7, 15], abs=0.2)


async def test_another_body_waits_for_nothing() -> None:
    scene = Scene()
    scene.error = ApiError(422, "Invalid", "/path: no")
    await scene.pass_seconds(10)
    scene.made.clear()
    await scene.attempts.make([scene.task("another")])
    assert scene.made


async def test_after_a_while_the_pauses_begin_anew() -> None:
    scene = Scene()
    await scene.attempts.make([scene.task()])
    scene.now += 2 * LAST_PAUSE
    assert await scene.pass_seconds(3) == pytest.approx([0, 1], abs=0.2)


async def test_the_api_server_may_ask_for_more_time() -> None:
    scene = Scene()
    scene.error = ApiError(429, "TooManyRequests", "/path: later", retry_after=20)
    assert await scene.attempts.make([scene.task()]) == 20


async def test_trouble_is_told_while_it_lasts() -> None:
    scene = Scene()
    scene.error = ApiError(422, "Invalid", "/apis/apps/v1/x: spec.template: rtsp://u:geheim@host is wrong")
    await scene.attempts.make([scene.task(), scene.task(pool=OTHER, what="Service kota/police")])
    assert scene.attempts.trouble == {
        POOL: "StatefulSet kota/city: spec.template: rtsp://***@host is wrong",
        OTHER: "Service kota/police: spec.template: rtsp://***@host is wrong",
    }
    scene.now += 1
    scene.error = Obstacle("it is somebody else's")
    await scene.attempts.make([scene.task()])
    assert scene.attempts.trouble == {POOL: "it is somebody else's"}
    # Before its pause is over, it is still so.
    await scene.attempts.make([scene.task()])
    assert scene.attempts.trouble
    scene.now, scene.error = scene.now + 10, None
    await scene.attempts.make([scene.task()])
    assert scene.attempts.trouble == {}


async def test_what_is_not_asked_for_any_more_is_no_trouble() -> None:
    scene = Scene()
    scene.error = Obstacle("no")
    await scene.attempts.make([scene.task()])
    await scene.attempts.make([])
    assert scene.attempts.trouble == {}


async def test_an_api_server_that_does_not_answer_is_nobodys_trouble() -> None:
    scene = Scene()
    scene.error = ApiUnreachable("connection refused")
    with pytest.raises(ApiUnreachable):
        await scene.attempts.make([scene.task()])
    assert scene.attempts.trouble == {}
    scene.error = None
    await scene.attempts.make([scene.task()])
    assert len(scene.made) == 2
