"""`pancar token`: a bearer token on standard output, or a one-time link to the running wall.

It is signed with the key of a state folder, or of a cluster: where one is named, or where there is no state folder.
"""

import re
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import typer
from pancar_operator.access import LINK_SECONDS, SCOPES, Right
from rich.console import Console

from pancar_cli.source import Context, Kubeconfig, Namespace, has_cluster, is_cluster
from pancar_cli.state import StateError, StateFolder, default_folder

# The running `pancar up` has the link within half a second; its relay is told then.
_LINK_WAIT_SECONDS: Final = 5.0

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600}
_LONGEST: Final = 10 * 366 * 24 * 3600


def command(
    camera: Annotated[
        list[str] | None,
        typer.Option(help="Cameras it opens, as namespace/name with * for anything; all by default. Repeatable."),
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long it is good: 30m, 12h, 7d.")] = "12h",
    subject: Annotated[str, typer.Option(help="Whom it is for, as the audit will show.")] = "token",
    scope: Annotated[
        list[str] | None, typer.Option(help="What it is good for: watch, metrics; watch by default. Repeatable.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Print a link that opens the wall in one browser, once.")
    ] = False,
    state_dir: Annotated[Path | None, typer.Option(help="The state folder of the pancar up it is for.")] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    namespace: Namespace = None,
) -> None:
    """Print a token for programs, or with --link a link for a browser."""
    right = Right(
        subject=subject,
        cameras=tuple(camera or ("*",)),
        scopes=_scopes(scope or ["watch"]),
        lifetime=_seconds(ttl),
    )
    errors = Console(stderr=True, highlight=False, markup=False)
    named = is_cluster(state_dir, kubeconfig, context, namespace)
    if named or (state_dir is None and has_cluster() and not default_folder().is_dir()):
        if link:
            raise typer.BadParameter("--link is made by a pancar up; for a cluster there are tokens only")
        sys.stdout.write(_of_cluster(right, kubeconfig, context, namespace, errors) + "\n")
        return
    try:
        state = StateFolder(state_dir or default_folder())
        line = _link(state, right, errors) if link else state.entry().mint(right)
    except StateError as error:
        errors.print(str(error), style="red", soft_wrap=True)
        sys.exit(1)
    sys.stdout.write(line + "\n")


def _of_cluster(
    right: Right, kubeconfig: Path | None, context: str | None, namespace: str | None, errors: Console
) -> str:
    # Kubernetes' client takes a third of a second to load.
    from pancar_cli import cluster

    try:
        return cluster.signing_key(cluster.Meant(kubeconfig, context), namespace).mint(right)
    except cluster.ClusterError as error:
        errors.print(str(error), style="red", soft_wrap=True)
        sys.exit(1)


def _link(state: StateFolder, right: Right, errors: Console) -> str:
    running = state.running()
    if running is None:
        raise state.not_running()
    code = state.entry().add_link(right)
    digest = sha256(code.encode()).hexdigest()
    deadline = time.monotonic() + _LINK_WAIT_SECONDS
    while running is not None and digest not in running.links and time.monotonic() < deadline:
        time.sleep(0.05)
        running = state.running() or running
    if digest not in running.links:
        errors.print("The relay has not taken the link yet; it is good as soon as it has.", soft_wrap=True)
    errors.print(f"Good for one browser, within {LINK_SECONDS // 60} minutes.", style="dim", soft_wrap=True)
    return f"{running.url}/enter#{code}"


def _scopes(scopes: list[str]) -> tuple[str, ...]:
    for scope in scopes:
        if scope not in SCOPES:
            raise typer.BadParameter(f"--scope must be one of {', '.join(SCOPES)}")
    return tuple(dict.fromkeys(scopes))


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,8})([smhd])", text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= _LONGEST:
        raise typer.BadParameter("--ttl must be a time like 30m, 12h or 7d, at most ten years")
    return seconds
