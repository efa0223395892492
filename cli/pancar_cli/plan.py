"""`pancar plan --dry-run [FILE…]`: what would become of the cameras, by the same planner as ever; nothing is changed.

With a cluster it is what the next plan does, were the files applied to it. Else the files are all there is: where a
`pancar up` runs, its relays and its present plan are what is planned from, otherwise as many relays as the pools ask
for.
"""

import collections
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from pancar_operator.manifests import ManifestError, load
from pancar_operator.model import DEFAULT_NAMESPACE, Key, Manifests, Relay, Snapshot
from pancar_operator.observe import Endpoint, Known
from pancar_operator.plan import Emptying, Plan, plan
from pancar_operator.room import capacity
from pancar_operator.status import BECAUSE, conditions
from rich.console import Console

from pancar_cli.facts import Facts
from pancar_cli.source import Context, Kubeconfig, Namespace, has_cluster, is_cluster
from pancar_cli.state import StateError, StateFolder, default_folder

FAILED: Final = 1
REFUSED: Final = 2


def snapshot(manifests: Manifests, facts: Facts | None) -> Snapshot:
    """What would be planned from on one machine, were these the manifests."""
    known = Known(lambda: 0.0)
    if facts is not None:
        known.default_pool = facts.default_pool
    known.declare(manifests)
    if facts is None:
        given = known.snapshot({})
        return completed(replace(given, sizes=dict.fromkeys(given.pools, 0)))
    for each in facts.relays:
        known.attach(each.relay, Endpoint("", ()))
    return known.snapshot({key: it.assignment for key, it in facts.cameras.items() if it.assignment is not None})


def completed(given: Snapshot) -> Snapshot:
    """The same with the relays that are yet to be made by the plan for it."""
    asked = plan(given).replicas
    relays, sizes = list(given.relays), dict(given.sizes)
    for key, size in given.sizes.items():
        name = key.name if key.namespace == DEFAULT_NAMESPACE else str(key)
        relays += (Relay(f"{name}-{ordinal}", key, ordinal=ordinal) for ordinal in range(size, asked.get(key, 0)))
        sizes[key] = max(size, asked.get(key, 0))
    return replace(given, relays=tuple(relays), sizes=sizes)


def changes(given: Snapshot, planned: Plan, refused: Mapping[Key, str]) -> Iterator[str]:
    """A line for each camera that would not stay as it is, in the order of their names; then what it comes to.

    `refused` are those that the operator makes nothing of, with the reason; they are not in the snapshot.
    """
    names = {relay.uid: relay.name or relay.uid for relay in given.relays}
    counts: collections.Counter[str] = collections.Counter()
    for key in sorted(given.cameras.keys() | given.placed.keys() | refused.keys()):
        before, after = given.placed.get(key), planned.assignments.get(key)
        if before is not None and after is not None and before.relay == after.relay:
            counts["stay"] += 1
            continue
        source = "" if before is None else f"from {names.get(before.relay, before.relay)}"
        if after is not None:
            word = "place" if before is None else "move"
            way = f"{source} to" if source else "on"
            what = f"{way} {names[after.relay]}: {BECAUSE[after.why]} ({after.why})"
        else:
            word, why = _left(key, given, planned, refused)
            what = f"{source}: {why}" if source else why
        counts[word] += 1
        yield f"{word:9} {key}  {what}"
    yield (
        f"To place: {counts['place']}, to move: {counts['move']}, to release: {counts['release']}, "
        f"left out: {counts['leave out']}, to stay: {counts['stay']}."
    )


def _left(key: Key, given: Snapshot, planned: Plan, refused: Mapping[Key, str]) -> tuple[str, str]:
    """What happens to a camera that no relay shall have, and why."""
    if key in refused:
        return "leave out", refused[key]
    if key not in given.cameras:
        return "release", "it is declared no more"
    placed = conditions(given.cameras[key], planned, None).placed
    return "leave out", f"{placed.message} ({placed.reason})"


def loads(given: Snapshot, planned: Plan) -> Iterator[str]:
    """A line for each pool: how full its relays would be; and one for each relay that would be emptied."""
    load = collections.Counter(assignment.relay for assignment in planned.assignments.values())
    for key, pool in sorted(given.pools.items()):
        relays = [relay for relay in given.relays if relay.pool == key]
        total, room = sum(load[relay.uid] for relay in relays), sum(capacity(pool, relay) for relay in relays)
        counts = sorted(load[relay.uid] for relay in relays)
        each = f", {counts[0]} to {counts[-1]} on each" if len(counts) > 1 else ""
        shall = (
            "" if planned.wanted[key] == given.sizes.get(key, len(relays)) else f"; it shall have {planned.wanted[key]}"
        )
        yield f"RelayPool {key}: {_relays(len(relays))}, {total} of {room} cameras{each}{shall}."
        for relay in relays:
            if (why := planned.emptying.get(relay.uid)) is not None:
                left = f"{load[relay.uid]} of its cameras are left"
                yield f"  {relay.name or relay.uid} is being emptied {_FOR[why]} ({why}); {left}."


_FOR: Final = {
    Emptying.SCALE_IN: "since the pool needs fewer relays",
    Emptying.ROLL: "to be replaced by one of the present template",
}


def _relays(count: int) -> str:
    return f"{count} relay{'' if count == 1 else 's'}"


def command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE…]", help="Manifest files, or folders of them.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done and do nothing; there is no other way so far.")
    ] = False,
    state_dir: Annotated[
        Path | None, typer.Option(help="The state folder of the pancar up that the files are meant for.")
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Show which relay each camera would be pulled by, what would move, and why; nothing is changed.

    With a cluster, named or for want of files, the next plan for it, were the files applied. Otherwise the files are
    all there is; where no pancar up runs with the state folder, it is planned from nothing, for the relays that the
    pools ask for.
    """
    if not dry_run:
        raise typer.BadParameter("only plans that change nothing can be made: add --dry-run")
    named = is_cluster(state_dir, kubeconfig, context, namespace)
    try:
        manifests = load(files) if files else Manifests()
        if named or (not files and state_dir is None and has_cluster()):
            lines = _of_cluster(manifests, kubeconfig, context, namespace)
        elif not files:
            raise typer.BadParameter("name manifest files, or a cluster with --kubeconfig or --context")
        else:
            lines = _of_machine(manifests, state_dir or default_folder())
    except ManifestError as error:
        _fail(error, REFUSED)
    _print(lines)


def _of_machine(manifests: Manifests, folder: Path) -> Iterator[str]:
    try:
        facts = StateFolder(folder).facts() if folder.is_dir() else None
    except StateError as error:
        _fail(error, FAILED)
    running = f"for the pancar up that runs with {folder}" if facts is not None else "from nothing"
    return _told(running, snapshot(manifests, facts), {})


def _of_cluster(
    manifests: Manifests, kubeconfig: Path | None, context: str | None, namespace: str | None
) -> Iterator[str]:
    # Kubernetes' client takes a third of a second to load.
    from pancar_cli import cluster

    try:
        given, refused = cluster.snapshot(manifests, cluster.Meant(kubeconfig, context), namespace)
    except cluster.ClusterError as error:
        _fail(error, FAILED)
    return _told("for the cluster as it is now", completed(given), refused)


def _told(what: str, given: Snapshot, refused: Mapping[Key, str]) -> Iterator[str]:
    planned = plan(given)
    yield f"Planned {what}; nothing was changed."
    yield from changes(given, planned, refused)
    yield from loads(given, planned)


def _fail(error: Exception, code: int) -> NoReturn:
    Console(stderr=True, highlight=False, markup=False).print(str(error), style="red", soft_wrap=True)
    sys.exit(code)


def _print(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
