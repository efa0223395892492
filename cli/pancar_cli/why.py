"""`pancar why camera/NAME`: where a camera is, since when and for what reason, and what befell it so far.

Asked is the `pancar up` that runs with the state folder, or a cluster: where one is named, or where none runs here.
"""

import difflib
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from pancar_operator.model import DEFAULT_NAMESPACE, Key
from pancar_operator.status import BECAUSE
from rich.console import Console

from pancar_cli.facts import HISTORY, CameraFacts, Facts, Happening, RelayFacts, Told
from pancar_cli.source import Context, Kubeconfig, has_cluster, is_cluster
from pancar_cli.state import StateError, StateFolder, default_folder

FAILED: Final = 1


def explain(key: Key, camera: CameraFacts, relay: RelayFacts | None) -> Iterator[str]:
    """The lines about a camera; `relay` is the one it is on, where that is known."""
    if camera.history:
        now = camera.history[-1]
        yield f"{key}  {now.phase} since {_moment(now.at)}{_cause(now)}"
        yield _place(camera, relay)
    else:
        yield f"{key}  nothing is known yet"
    yield from camera.notes
    if len(camera.history) > 1:
        yield "Before that:" if len(camera.history) < HISTORY else f"The last {HISTORY - 1} before that:"
        for happening in camera.history[:-1]:
            yield f"  {_moment(happening.at)}  {happening.phase.value:8}{_cause(happening).removeprefix(': ')}".rstrip()
    if camera.events:
        yield "Events:"
        yield from map(_event, camera.events)


def _place(camera: CameraFacts, relay: RelayFacts | None) -> str:
    assignment = camera.assignment
    if assignment is None or camera.since is None:
        return "It is on no relay."
    where = ", which is not attached"
    if relay is not None:
        url, node = f" at {relay.url}" if relay.url else "", f", on node {relay.node}" if relay.node else ""
        where = f"{url}, of RelayPool {relay.relay.pool}{node}"
    name = relay.relay.name if relay is not None else ""
    since = f"since {_moment(camera.since)}{' or later' if camera.perhaps_later else ''}"
    because = f"{BECAUSE[assignment.why]} ({assignment.why})"
    return f"On relay {name or assignment.relay}{where}, {since}: {because}."


def _cause(happening: Happening) -> str:
    parts = [happening.reason if happening.reason != happening.phase else "", happening.message]
    told = ": ".join(part for part in parts if part)
    return f": {told}" if told else ""


def _event(event: Told) -> str:
    often = ""
    if event.times > 1:
        often = f" ({event.times} times{f' since {_moment(event.since)}' if event.since else ''})"
    return f"  {_moment(event.at)}  {event.reason}: {event.message}{often}"


def _moment(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def parse(name: str, namespace: str = DEFAULT_NAMESPACE) -> Key:
    """The key in camera/NAMESPACE/NAME or camera/NAME. Raises ValueError."""
    match name.split("/"):
        case ["camera" | "cameras" | "cam", camera] if camera:
            return Key(namespace, camera)
        case ["camera" | "cameras" | "cam", named, camera] if named and camera:
            return Key(named, camera)
    raise ValueError("must be camera/NAME or camera/NAMESPACE/NAME")


def unknown(key: Key, facts: Facts) -> str:
    near = difflib.get_close_matches(str(key), [str(other) for other in facts.cameras], 3)
    return f"There is no camera {key}." + (f" Is it {' or '.join(near)}?" if near else "")


def command(
    name: Annotated[str, typer.Argument(metavar="camera/[NAMESPACE/]NAME", help="The camera.")],
    state_dir: Annotated[Path | None, typer.Option(help="The state folder of the pancar up it is in.")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Tell where a camera is, since when, for what reason, and what befell it so far."""
    try:
        parse(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    named = is_cluster(state_dir, kubeconfig, context)
    if named or (state_dir is None and has_cluster() and not _runs_here()):
        _of_cluster(name, kubeconfig, context)
        return
    key = parse(name)
    try:
        state = StateFolder(state_dir or default_folder())
        facts = state.facts()
        if facts is None:
            raise StateError(f"{state.not_running()} For a cluster, name its kubeconfig with --kubeconfig.")
        if key not in facts.cameras:
            raise StateError(unknown(key, facts))
    except StateError as error:
        _fail(error)
    camera = facts.cameras[key]
    uid = camera.assignment.relay if camera.assignment else None
    _print(explain(key, camera, next((each for each in facts.relays if each.relay.uid == uid), None)))


def _runs_here() -> bool:
    """Whether the default state folder is that of a running `pancar up`; it is not made for this."""
    return default_folder().is_dir() and StateFolder(default_folder()).running() is not None


def _of_cluster(name: str, kubeconfig: Path | None, context: str | None) -> None:
    # Kubernetes' client takes a third of a second to load.
    from pancar_cli import cluster

    meant = cluster.Meant(kubeconfig, context)
    key = parse(name, meant.namespace())
    try:
        camera, relay = cluster.camera(key, meant)
    except cluster.ClusterError as error:
        _fail(error)
    _print(explain(key, camera, relay))


def _fail(error: Exception) -> NoReturn:
    Console(stderr=True, highlight=False, markup=False).print(str(error), style="red", soft_wrap=True)
    sys.exit(FAILED)


def _print(lines: Iterator[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
