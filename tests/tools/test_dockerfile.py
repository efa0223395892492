"""The Dockerfile as far as it can be read without building it: what it copies is there, and it runs as nobody."""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pancar_operator import specs

ROOT = Path(__file__).parents[2]
TARGETS = ("operator", "relay")


def instructions() -> Iterator[tuple[str, str, str]]:
    """Stage, instruction and arguments, in order; the stage is empty before the first."""
    stage = ""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, arguments = line.partition(" ")
            if name == "FROM":
                stage = arguments.split(" AS ")[1]
            yield stage, name, arguments


def lineage(target: str) -> list[str]:
    """The stage and those that it is made from, itself last."""
    bases = {stage: arguments.split(" AS ")[0] for stage, name, arguments in instructions() if name == "FROM"}
    found = [target]
    while (base := bases[found[0]]) in bases:
        found.insert(0, base)
    return found


def last(target: str, wanted: str) -> str:
    """The instruction that holds in the target's image."""
    stages = lineage(target)
    return [arguments for stage, name, arguments in instructions() if stage in stages and name == wanted][-1]


def tracked() -> list[str]:
    return subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_its_own_side_as_nobody(target: str) -> None:
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", last(target, "USER"))
    python, flag, module = json.loads(last(target, "ENTRYPOINT"))
    assert (python, flag, module) == ("python", "-m", f"pancar_{target}")
    assert importlib.util.find_spec(f"{module}.__main__") is not None
    assert last(target, "COPY") == f"--from={target}-packages /opt/pancar /opt/pancar"
    (installed,) = (line for stage, name, line in instructions() if stage == f"{target}-packages" and name == "RUN")
    assert f"[{target}]" in installed
    assert "--constraint constraints.txt" in installed


def test_relays_listen_where_their_pods_say() -> None:
    exposed = set(last("relay", "EXPOSE").split())
    assert exposed == {f"{specs.HTTPS_PORT}/tcp", f"{specs.MEDIA_PORT}/udp", f"{specs.MEDIA_PORT}/tcp"}


def test_what_is_copied_is_in_the_context_and_in_the_repository() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for stage, name, arguments in instructions()
        if name == "COPY" and "--from=" not in arguments
        for source in arguments.split()[:-1]
    }
    assert copied == let_in
    files = tracked()
    for source in copied:
        assert any(file == source or file.startswith(f"{source}/") for file in files), source
    # No part of the checkout that is compiled or fetched on this machine gets in.
    assert {"**/__pycache__", "**/*.so", "relay/engine/target"} <= set(ignored)
