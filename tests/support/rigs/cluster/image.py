"""OCI images, written without a daemon and without a pull; `images` says what is in them."""

import hashlib
import io
import json
import platform
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LAYER, CONFIG, MANIFEST = (
    f"application/vnd.oci.image.{kind}" for kind in ("layer.v1.tar", "config.v1+json", "manifest.v1+json")
)


@dataclass(frozen=True)
class Entry:
    """One file, link or folder. Folders above it come by themselves, readable for everyone."""

    path: str
    """Absolute, in the image."""
    source: Path | None = None
    """The file or symbolic link that it is a copy of."""
    link: str | None = None
    data: bytes | None = None
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    reference: str
    layers: tuple[tuple[Entry, ...], ...]
    """From the lowest up. Images that have the same ones at the bottom share them on a node."""
    entrypoint: tuple[str, ...]
    user: str = "0:0"
    path: str = "/usr/local/bin:/usr/bin:/bin"


def _folder(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def _copy(layer: tarfile.TarFile, name: str, source: Path) -> None:
    status = source.lstat()
    info = tarfile.TarInfo(name)
    # Its time stays: Python's caches of compiled code go by it. Its owner does not, and everyone may read it.
    info.mtime = status.st_mtime
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(source.readlink())
        layer.addfile(info)
        return
    info.size, info.mode = status.st_size, 0o755 if status.st_mode & 0o100 else 0o644
    with source.open("rb") as file:
        layer.addfile(info, file)


def _add(layer: tarfile.TarFile, entry: Entry) -> None:
    name = entry.path.lstrip("/")
    if entry.source is not None:
        _copy(layer, name, entry.source)
        return
    info = tarfile.TarInfo(name)
    info.mode = entry.mode
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        layer.addfile(info)
    elif entry.data is not None:
        info.size = len(entry.data)
        layer.addfile(info, io.BytesIO(entry.data))
    else:
        layer.addfile(_folder(name, entry.mode))


def _write_layer(path: Path, entries: Sequence[Entry]) -> None:
    folders: set[Path] = set()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as layer:
        for entry in entries:
            for parent in reversed(Path(entry.path).parents[:-1]):
                if parent not in folders:
                    folders.add(parent)
                    layer.addfile(_folder(str(parent).lstrip("/")))
            _add(layer, entry)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(image: Image, archive: Path) -> None:
    """An OCI image layout in one tar file, as `ctr images import` takes it."""
    layers: dict[str, Path] = {}
    for number, entries in enumerate(image.layers):
        layer = archive.with_suffix(f".layer{number}")
        _write_layer(layer, entries)
        layers[_digest(layer)] = layer
    blobs: dict[str, bytes] = {}

    def blob(media_type: str, content: object) -> dict[str, object]:
        data = json.dumps(content).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    where = {"architecture": ARCHITECTURES[platform.machine()], "os": "linux"}
    config = {
        **where,
        "config": {"Entrypoint": image.entrypoint, "User": image.user, "Env": [f"PATH={image.path}"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in layers]},
    }
    listed = [
        {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": layer.stat().st_size}
        for digest, layer in layers.items()
    ]
    manifest = blob(
        MANIFEST,
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(CONFIG, config), "layers": listed},
    )
    manifest |= {"annotations": {"io.containerd.image.name": image.reference}, "platform": where}
    with tarfile.open(archive, "w") as out:
        _add(out, Entry("oci-layout", data=b'{"imageLayoutVersion":"1.0.0"}', mode=0o644))
        _add(out, Entry("index.json", data=json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()))
        for digest, data in blobs.items():
            _add(out, Entry(f"blobs/sha256/{digest}", data=data, mode=0o644))
        for digest, layer in layers.items():
            out.add(layer, f"blobs/sha256/{digest}")
            layer.unlink()
