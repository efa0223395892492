"""`pancar plan --dry-run FILE…`: what would become of the cameras in manifest files, by the same planner as ever.

Where a `pancar up` runs, its relays and its present plan are what is planned from; otherwise as many relays as the
pools ask for.
"""

import collections
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer
from pancar_operator.manifests import ManifestError, load
from pancar_operator.model import DEFAULT_NAMESPACE, Assignment, Key, Manifests, Relay, Snapshot
from pancar_operator.observe import Endpoint, Known
from pancar_operator.plan import Plan, capacity, plan
from pancar_operator.status import BECAUSE, conditions
from rich.console import Console

from pancar_cli.facts import Facts
from pancar_cli.state import StateError, StateFolder, default_folder

FAILED: Final = 1
REFUSED: Final = 2


def snapshot(manifests: Manifests, facts: Facts | None) -> Snapshot:
    """What would be planned from, were these the manifests."""
    known = Known(lambda: 0.0)
    if facts is not None:
        known.default_pool = facts.default_pool
    known.declare(manifests)
    if facts is None:
        return _with_relays(known.snapshot({}))
    for each in facts.relays:
        known.attach(each.relay, Endpoint("", ()))
    return known.snapshot({key: it.assignment for key, it in facts.cameras.items() if it.assignment is not None})


def _with_relays(given: Snapshot) -> Snapshot:
    """The same with as many relays as the planner asks for."""
    asked = plan(replace(given, sizes=dict.fromkeys(given.pools, 0))).replicas
    relays = (
        Relay(f"{key.name if key.namespace == DEFAULT_NAMESPACE else key}-{ordinal}", key)
        for key, count in asked.items()
        for ordinal in range(count)
    )
    return replace(given, relays=tuple(relays))


def changes(given: Snapshot, planned: Plan) -> Iterator[str]:
    """A line for each camera that would not stay as it is, in the order of their names; then what it comes to."""
    counts: collections.Counter[str] = collections.Counter()
    for key in sorted(given.cameras.keys() | given.placed.keys()):
        before, after = given.placed.get(key), planned.assignments.get(key)
        if before is not None and after is not None and before.relay == after.relay:
            counts["stay"] += 1
            continue
        word, what = _change(key, before, after, given, planned)
        counts[word] += 1
        yield f"{word:9} {key}  {what}"
    yield (
        f"To place: {counts['place']}, to move: {counts['move']}, to release: {counts['release']}, "
        f"left out: {counts['leave out']}, to stay: {counts['stay']}."
    )


def _change(
    key: Key, before: Assignment | None, after: Assignment | None, given: Snapshot, planned: Plan
) -> tuple[str, str]:
    if after is not None:
        because = f"{BECAUSE[after.why]} ({after.why})"
        if before is None:
            return "place", f"on {after.relay}: {because}"
        return "move", f"from {before.relay} to {after.relay}: {because}"
    source = "" if before is None else f"from {before.relay}: "
    if key not in given.cameras:
        return "release", f"{source}it is declared no more"
    placed = conditions(given.cameras[key], planned, None).placed
    return "leave out", f"{source}{placed.message} ({placed.reason})"


def loads(given: Snapshot, assignments: Mapping[Key, Assignment]) -> Iterator[str]:
    """A line for each pool: how full its relays would be."""
    load = collections.Counter(assignment.relay for assignment in assignments.values())
    for key, pool in sorted(given.pools.items()):
        relays = [relay for relay in given.relays if relay.pool == key]
        total, room = sum(load[relay.uid] for relay in relays), sum(capacity(pool, relay) for relay in relays)
        counts = sorted(load[relay.uid] for relay in relays)
        each = f", {counts[0]} to {counts[-1]} on each" if len(counts) > 1 else ""
        yield f"RelayPool {key}: {len(relays)} relay{'' if len(relays) == 1 else 's'}, {total} of {room} cameras{each}."


def command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Manifest files, or folders of them.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and do nothing; there is no other way so far.")
    ] = False,
    state_dir: Annotated[
        Path | None, typer.Option(help="The state folder of the pancar up that the files are meant for.")
    ] = None,
) -> None:
    """Show which relay each camera would be pulled by, what would move, and why; nothing is changed.

    Where no pancar up runs with the state folder, it is planned from nothing, for the relays that the pools ask for.
    """
    if not dry_run:
        raise typer.BadParameter("only plans that change nothing can be made: add --dry-run")
    folder = state_dir or default_folder()
    errors = Console(stderr=True, highlight=False, markup=False)
    try:
        given = snapshot(load(files), facts := StateFolder(folder).facts() if folder.is_dir() else None)
    except ManifestError as error:
        errors.print(str(error), style="red", soft_wrap=True)
        sys.exit(REFUSED)
    except StateError as error:
        errors.print(str(error), style="red", soft_wrap=True)
        sys.exit(FAILED)
    running = f"for the pancar up that runs with {folder}" if facts is not None else "from nothing"
    planned = plan(given)
    _print([f"Planned {running}; nothing was changed.", *changes(given, planned), *loads(given, planned.assignments)])


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
