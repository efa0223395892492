"""`pancar why camera/NAME`: where a camera is, since when and for what reason, and what befell it so far."""

import difflib
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from pancar_operator.model import DEFAULT_NAMESPACE, Key
from pancar_operator.status import BECAUSE
from rich.console import Console

from pancar_cli.facts import HISTORY, CameraFacts, Facts, Happening
from pancar_cli.state import StateError, StateFolder, default_folder

FAILED: Final = 1


def explain(key: Key, facts: Facts) -> Iterator[str]:
    """The lines about a camera that is known."""
    camera = facts.cameras[key]
    if not camera.history:
        yield f"{key}  nothing is known yet"
        return
    now = camera.history[-1]
    yield f"{key}  {now.phase} since {_moment(now.at)}{_cause(now)}"
    yield _place(camera, facts)
    if len(camera.history) > 1:
        yield "Before that:" if len(camera.history) < HISTORY else f"The last {HISTORY - 1} before that:"
        for happening in camera.history[:-1]:
            yield f"  {_moment(happening.at)}  {happening.phase.value:8}{_cause(happening).removeprefix(': ')}".rstrip()


def _place(camera: CameraFacts, facts: Facts) -> str:
    assignment = camera.assignment
    if assignment is None or camera.since is None:
        return "It is on no relay."
    relay = next((each for each in facts.relays if each.relay.uid == assignment.relay), None)
    where = f" at {relay.url}, of RelayPool {relay.relay.pool}" if relay is not None else ", which is not attached"
    because = f"{BECAUSE[assignment.why]} ({assignment.why})"
    return f"On relay {assignment.relay}{where}, since {_moment(camera.since)}: {because}."


def _cause(happening: Happening) -> str:
    parts = [happening.reason if happening.reason != happening.phase else "", happening.message]
    told = ": ".join(part for part in parts if part)
    return f": {told}" if told else ""


def _moment(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def parse(name: str) -> Key:
    """The key in camera/NAMESPACE/NAME or camera/NAME. Raises ValueError."""
    match name.split("/"):
        case ["camera" | "cameras" | "cam", camera] if camera:
            return Key(DEFAULT_NAMESPACE, camera)
        case ["camera" | "cameras" | "cam", namespace, camera] if namespace and camera:
            return Key(namespace, camera)
    raise ValueError("must be camera/NAME or camera/NAMESPACE/NAME")


def unknown(key: Key, facts: Facts) -> str:
    near = difflib.get_close_matches(str(key), [str(other) for other in facts.cameras], 3)
    return f"There is no camera {key}." + (f" Is it {' or '.join(near)}?" if near else "")


def command(
    name: Annotated[str, typer.Argument(metavar="camera/[NAMESPACE/]NAME", help="The camera.")],
    state_dir: Annotated[Path | None, typer.Option(help="The state folder of the pancar up it is in.")] = None,
) -> None:
    """Tell where a camera is, since when, for what reason, and what befell it so far."""
    try:
        key = parse(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        state = StateFolder(state_dir or default_folder())
        facts = state.facts()
        if facts is None:
            raise state.not_running()
        if key not in facts.cameras:
            raise StateError(unknown(key, facts))
    except StateError as error:
        Console(stderr=True, highlight=False, markup=False).print(str(error), style="red", soft_wrap=True)
        sys.exit(FAILED)
    sys.stdout.writelines(f"{line}\n" for line in explain(key, facts))
