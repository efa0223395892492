"""Generates the protobuf modules beside their .proto files; `--check` only tells whether they are in sync.

Called by `make proto` and `make lint`.
"""

import argparse
import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path("proto")
OUTPUTS = ("python_out=", "grpc_python_out=", "mypy_out=quiet:", "mypy_grpc_out=quiet:")
PLUGINS = ("protoc-gen-mypy", "protoc-gen-mypy_grpc")


def generate(protos: list[str], target: Path) -> None:
    well_known = files("grpc_tools").joinpath("_proto")
    paths = [f"--proto_path={ROOT}", f"--proto_path={well_known}"]
    plugins = [f"--plugin={name}={Path(sys.executable).with_name(name)}" for name in PLUGINS]
    outputs = [f"--{output}{target}" for output in OUTPUTS]
    if protoc.main(["protoc", *paths, *plugins, *outputs, *protos]) != 0:
        sys.exit("protoc failed")


def stale(fresh: Path) -> list[Path]:
    """The committed modules that differ from freshly generated ones, or are missing."""
    generated = [path.relative_to(fresh) for path in fresh.rglob("*_pb2*")]
    return [path for path in generated if not _same(fresh / path, ROOT / path)]


def _same(one: Path, other: Path) -> bool:
    return other.exists() and filecmp.cmp(one, other, shallow=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("protos", nargs="+")
    arguments = parser.parse_args()
    if not arguments.check:
        generate(arguments.protos, ROOT)
        return
    with tempfile.TemporaryDirectory() as fresh:
        generate(arguments.protos, Path(fresh))
        if differing := stale(Path(fresh)):
            sys.exit("run `make proto`: " + ", ".join(str(ROOT / path) for path in differing))


if __name__ == "__main__":
    main()
