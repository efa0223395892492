"""What the terminal shows of cameras' transitions."""

import io

from pancar_cli.screen import Screen
from pancar_operator.model import Key
from pancar_operator.reconcile import Transition
from pancar_operator.report import Video
from pancar_operator.status import Condition, Conditions
from pancar_operator.statusfields import Truth
from rich.console import Console

PLACED = Condition(Truth.TRUE, "New")
NOT_PAUSED = Condition(Truth.FALSE, "NotPaused")
LIVE = Conditions(
    PLACED,
    Condition(Truth.TRUE, "Live"),
    Condition(Truth.TRUE, "Live"),
    NOT_PAUSED,
    Video("H264", "42e01f", 640, 360, 25),
)
WAITING = Conditions(PLACED, Condition(Truth.UNKNOWN, "Waiting"), Condition(Truth.UNKNOWN, "Waiting"), NOT_PAUSED)


def offline(reason: str, message: str) -> Conditions:
    condition = Condition(Truth.FALSE, reason, message)
    return Conditions(PLACED, condition, condition, NOT_PAUSED)


class Terminal:
    def __init__(self) -> None:
        self._out = io.StringIO()
        self.screen = Screen(Console(file=self._out, width=40, highlight=False, markup=False))

    def show(self, **cameras: Conditions | None) -> list[str]:
        """The lines that these cameras' transitions bring, without their times."""
        self.screen.transitions(
            Transition(Key("kota", name.replace("_", "-")), None, conditions) for name, conditions in cameras.items()
        )
        self.screen.flush()
        lines = self._out.getvalue().splitlines()
        self._out.truncate(0)
        self._out.seek(0)
        return [line[10:].rstrip() for line in lines]


def test_a_camera_is_told_when_it_comes_and_goes() -> None:
    terminal = Terminal()
    assert terminal.show(gate=WAITING) == []
    assert terminal.show(gate=LIVE) == ["live    kota/gate  H264 640 by 360, 25 frames a second"]
    assert terminal.show(gate=WAITING) == []
    assert terminal.show(gate=LIVE) == [], "it is live as it was told"
    down = offline("Unauthorized", "Wrong password. Its keeper mends this.")
    assert terminal.show(gate=down) == ["offline kota/gate  Unauthorized: Wrong password. Its keeper mends this."]
    assert terminal.show(gate=down) == []
    assert terminal.show(gate=offline("Refused", "")) == ["offline kota/gate  Refused"]


def test_a_removed_camera_is_told_anew_when_it_returns() -> None:
    terminal = Terminal()
    assert len(terminal.show(gate=LIVE)) == 1
    assert terminal.show(gate=None) == []
    assert len(terminal.show(gate=LIVE)) == 1


def test_many_alike_are_one_line() -> None:
    terminal = Terminal()
    city = {f"camera_{number}": LIVE for number in range(101)}
    assert terminal.show(**city, gate=offline("Refused", "")) == [
        "live    101 cameras (kota/camera-0, kota/camera-1, kota/camera-2, …)",
        "offline kota/gate  Refused",
    ]


def test_markup_and_secrets_stay_out() -> None:
    terminal = Terminal()
    (line,) = terminal.show(gate=offline("Refused", "[bold]no[/bold] rtsp://u:hunter2@h/"))
    assert line.endswith("[bold]no[/bold] rtsp://***@h/")
