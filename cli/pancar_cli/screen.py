"""What `pancar up` says on the terminal: calm lines for a person, not a log.

Transitions of cameras are gathered for half a second and told as the state they came to; many alike become one line. A
camera on its way is not told about at all.
"""

import time
from collections.abc import Iterable
from typing import Final

from pancar_operator.model import Key
from pancar_operator.reconcile import Transition
from pancar_operator.status import Conditions, Phase
from pancar_proto.logs import redact
from rich.console import Console
from rich.text import Text

_STYLES: Final = {Phase.LIVE: "green", Phase.OFFLINE: "red", Phase.PAUSED: "yellow", Phase.WAITING: "dim"}
# More alike at one moment than this are told in one line.
_MANY: Final = 8
_NAMED: Final = 3


class Screen:
    """Prints to one console; never wraps a line and never lets markup in."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[Key, tuple[Phase, str, str]] = {}
        self._waiting: dict[Key, Conditions | None] = {}

    def say(self, text: str, *, style: str = "") -> None:
        self._console.print(Text(redact(text), style=style), soft_wrap=True)

    def link(self, what: str, url: str) -> None:
        """A line with a one-time link, which alone is not redacted."""
        self._console.print(Text.assemble((f"{what}  ", "bold"), (url, "bold cyan")), soft_wrap=True)

    def trouble(self, text: str) -> None:
        self.say(text, style="red")

    def transitions(self, transitions: Iterable[Transition]) -> None:
        """To be told at the next `flush`."""
        for transition in transitions:
            self._waiting[transition.camera] = transition.after

    def flush(self) -> None:
        """Tells what has come to be since the last call; to be called twice a second."""
        alike: dict[tuple[Phase, str, str], list[tuple[Key, Conditions]]] = {}
        for key, conditions in self._waiting.items():
            if conditions is None:
                self._told.pop(key, None)
                continue
            state = _state(conditions)
            if state[0] is not Phase.WAITING and self._told.get(key) != state:
                self._told[key] = state
                alike.setdefault(state, []).append((key, conditions))
        self._waiting.clear()
        for (phase, reason, message), cameras in alike.items():
            explained = ": ".join(part for part in (reason, message) if part)
            if len(cameras) > _MANY:
                first = ", ".join(str(key) for key, _ in cameras[:_NAMED])
                self._line(phase, f"{len(cameras)} cameras ({first}, …)", explained)
                continue
            for key, conditions in cameras:
                self._line(phase, str(key), explained or _video(conditions))

    def _line(self, phase: Phase, who: str, what: str) -> None:
        self._console.print(
            Text.assemble(
                (time.strftime("%H:%M:%S  "), "dim"),
                (f"{phase.value.lower():8}", _STYLES[phase]),
                f"{who}  ",
                (redact(what), "dim" if phase is Phase.LIVE else ""),
            ),
            soft_wrap=True,
        )


def _state(conditions: Conditions) -> tuple[Phase, str, str]:
    phase = conditions.phase
    if phase is Phase.LIVE:
        return phase, "", ""
    ready = conditions.ready
    return phase, "" if phase is Phase.PAUSED else ready.reason, ready.message


def _video(conditions: Conditions) -> str:
    video = conditions.video
    if video is None:
        return ""
    rate = f", {video.fps:g} frames a second" if video.fps else ""
    return f"{video.codec} {video.width} by {video.height}{rate}"
