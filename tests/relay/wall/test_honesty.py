"""What decides a tile's state: a picture that stands still is never live for long, and states win in their order."""

from collections.abc import Callable
from typing import Any

import pytest

Script = Callable[..., Any]

# Frames every `interval` milliseconds for a while, then none: how long is the picture still called live?
FREEZE = """
    return argument.map((interval) => {
        const frames = new modules.frames.FrameClock();
        let now = 1000, wavered = 0;
        for (let count = 0; count < 100; count += 1) {
            now += interval;
            if (count > 1 && !frames.moves(now - 1)) wavered += 1;
            frames.seen(now, new Date());
        }
        let held = 0;
        while (frames.moves(now + held)) held += 50;
        return { interval, held, wavered };
    });
"""
VERDICT = """
    const frames = new modules.frames.FrameClock();
    for (const at of argument.frames) frames.seen(at, new Date());
    const { denied = false, info = null, refusal = null, unplayable = false, now } = argument;
    return modules.verdict.verdict({ denied, info, refusal, unplayable, frames, now });
"""


def test_a_frozen_picture_is_live_for_less_than_five_seconds(script: Script) -> None:
    for found in script(FREEZE, [1, 16, 33, 40, 66, 100, 200, 500, 1000, 2000, 4000]):
        # The tile looks every quarter of a second.
        assert interval_of(found) < found["held"] <= 4500 + 50, found
        # The slowest camera is told from a frozen one at its third frame.
        assert found["wavered"] <= (found["interval"] > 2500), found


def interval_of(found: dict[str, int]) -> int:
    return min(found["interval"], 4000)


def test_after_a_gap_one_frame_is_a_still(script: Script) -> None:
    body = """
        const frames = new modules.frames.FrameClock();
        const seen = [0, 100, 200, 9000, 9100].map((at) => {
            frames.seen(at, new Date());
            return frames.moves(at);
        });
        frames.clear();
        return [...seen, frames.moves(9100), frames.last];
    """
    assert script(body) == [False, True, True, False, True, False, None]


LIVE, OFFLINE = {"state": "Live"}, {"state": "Offline"}
MOVING, FROZEN, STILL, NEVER = [9800, 9900, 10_000], [100, 200, 300], [10_000], list[int]()


@pytest.mark.parametrize(
    ("frames", "facts", "state"),
    [
        (NEVER, {}, "waiting"),
        (NEVER, {"info": {"state": "Waiting"}}, "waiting"),
        (NEVER, {"info": LIVE}, "waiting"),
        (STILL, {"info": LIVE}, "signal-lost"),
        (MOVING, {"info": LIVE}, "live"),
        (MOVING, {}, "live"),
        (FROZEN, {"info": LIVE}, "signal-lost"),
        (FROZEN, {"info": {"state": "Waiting"}}, "signal-lost"),
        (FROZEN, {"info": OFFLINE}, "offline"),
        (NEVER, {"info": OFFLINE}, "offline"),
        (NEVER, {"refusal": {"reason": "Timeout", "message": "…"}}, "offline"),
        (NEVER, {"info": LIVE, "refusal": {"reason": None, "message": "…"}}, "waiting"),
        (NEVER, {"info": LIVE, "unplayable": True}, "not-playable"),
        (NEVER, {"unplayable": True}, "not-playable"),
        (FROZEN, {"info": LIVE, "unplayable": True}, "not-playable"),
        (NEVER, {"info": OFFLINE, "unplayable": True}, "offline"),
        (MOVING, {"info": LIVE, "unplayable": True}, "live"),
        # Pictures do not wait for control.
        (MOVING, {"info": OFFLINE}, "live"),
        ([7000, 7100, 7200], {"info": LIVE, "now": 9000}, "live"),
        ([7000, 7100, 7200], {"info": OFFLINE, "now": 9000}, "offline"),
        # Privacy and rights win over pictures.
        (MOVING, {"info": {"state": "Paused"}}, "paused"),
        (MOVING, {"info": LIVE, "denied": True}, "not-allowed"),
        (MOVING, {"info": {"state": "Paused"}, "denied": True}, "not-allowed"),
    ],
)
def test_states_win_in_their_order(script: Script, frames: list[int], facts: dict[str, Any], state: str) -> None:
    assert script(VERDICT, {"frames": frames, "now": 10_050, **facts}) == state
