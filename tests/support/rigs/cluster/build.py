"""Builds what the test cluster runs from Go modules, once: `make cluster` calls it as a program.

The result lies in the user's cache under a name that is the hash of all that it was made from, so a changed version or
source is another result, and a cache that is gone is built anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

SOURCES = Path(__file__).parents[3] / "cluster" / "programs"
PACKAGES = (
    "./kubernetes",
    "./coredns",
    "./pause",
    "helm.sh/helm/v3/cmd/helm",
    "github.com/yannh/kubeconform/cmd/kubeconform",
)
# Go's version counts too, but not here: a newer patch release is no reason to build for ten minutes again.
FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
OPENAPI = "api/openapi-spec/swagger.json"


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pancar-kube"


def folder() -> Path:
    """Where the binaries are, or will be."""
    digest = hashlib.sha256(repr((PACKAGES, FLAGS)).encode())
    for file in sorted(SOURCES.rglob("*")):
        if file.is_file():
            digest.update(f"\0{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
    return _cache() / digest.hexdigest()[:16]


def binary(name: str) -> Path:
    return folder() / name


def built() -> bool:
    return folder().is_dir()


def _go(*arguments: str) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=SOURCES,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        # Without cgo they are static, which is what an image with nothing else in it needs.
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
    )
    return done.stdout


def _version_flags(version: str) -> str:
    """What `kubectl version` and the API server's /version say: set by the linker, as upstream's own scripts do."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    homes = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return " ".join(["-s -w", *(f"-X {home}.{name}={value}" for home in homes for name, value in values.items())])


def build() -> Path:
    """Returns the folder of the binaries, and of the OpenAPI document that the API server serves."""
    cache, result = _cache(), folder()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if result.is_dir():
            return result
        draft = cache / f"{result.name}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        module = json.loads(_go("mod", "download", "-json", "k8s.io/kubernetes"))
        for package in PACKAGES:
            started = time.monotonic()
            _go("build", *FLAGS, f"-ldflags={_version_flags(module['Version'])}", "-o", f"{draft}/", package)
            sys.stderr.write(f"  {package}: {time.monotonic() - started:.0f} s\n")
        shutil.copy(Path(module["Dir"]) / OPENAPI, draft / "openapi.json")
        draft.rename(result)
        for other in cache.iterdir():  # older results; nothing runs from them for long
            if other.is_dir() and other != result and (other / "kubernetes").exists():
                shutil.rmtree(other)
    return result


def main() -> int:
    if built():
        return 0
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("go") is None:
        sys.stderr.write("a cluster of one's own takes Linux, root and Go: the tests that want one are skipped\n")
        return 0
    sys.stderr.write("Building Kubernetes for the tests, from source: about ten minutes, once\n")
    build()
    return 0


if __name__ == "__main__":
    sys.exit(main())
