"""Edits as editors and tools make them are noticed, each once it has come to rest."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pancar_cli.watch import edits


class Watching:
    def __init__(self, *paths: Path) -> None:
        self._edits = edits(paths)

    async def after(self, edit: Callable[[], object]) -> bool:
        """Whether the edit is noticed within four seconds."""
        waiting = asyncio.ensure_future(anext(self._edits))
        # The watch is set up within this; an edit before would be noticed five seconds later.
        await asyncio.sleep(0.4)
        edit()
        done, _ = await asyncio.wait([waiting], timeout=4)
        if not done:
            waiting.cancel()
        return bool(done)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cameras.yaml").write_text("a: 1\n")
    return tmp_path


async def test_written_in_place(folder: Path) -> None:
    file = folder / "cameras.yaml"
    assert await Watching(file).after(lambda: file.write_text("a: 22\n"))


async def test_replaced_by_renaming_time_and_again(folder: Path) -> None:
    file = folder / "cameras.yaml"
    watching = Watching(file)
    for number in range(2):
        draft = folder / ".cameras.yaml.swp"
        draft.write_text(f"a: {number}\n")
        assert await watching.after(lambda draft=draft: draft.replace(file))  # type: ignore[misc]


async def test_removed_and_made_anew(folder: Path) -> None:
    file = folder / "cameras.yaml"
    watching = Watching(file)
    assert await watching.after(file.unlink)
    assert await watching.after(lambda: file.write_text("a: 1\n"))


async def test_a_file_beside_it_is_none_of_its_business(folder: Path) -> None:
    assert not await Watching(folder / "cameras.yaml").after(lambda: (folder / "other.yaml").write_text("b: 1\n"))


async def test_files_and_folders_that_come_to_a_folder(folder: Path) -> None:
    watching = Watching(folder)
    assert await watching.after(lambda: (folder / "more.yaml").write_text("b: 1\n"))
    deep = folder / "district"
    deep.mkdir()
    assert await watching.after(lambda: (deep / "cameras.yaml").write_text("c: 1\n"))
    await asyncio.sleep(0.3)
    assert await watching.after(lambda: (deep / "cameras.yaml").write_text("c: 22\n"))


async def test_through_a_symbolic_link(tmp_path: Path) -> None:
    """As Kubernetes mounts a ConfigMap: file → ..data/file, ..data → ..version."""
    for version in ("one", "two"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "cameras.yaml").write_text(f"version: {version}\n")
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "cameras.yaml").symlink_to("..data/cameras.yaml")

    def swap() -> None:
        (tmp_path / "..next").symlink_to("..two")
        (tmp_path / "..next").replace(tmp_path / "..data")

    assert await Watching(tmp_path / "cameras.yaml").after(swap)
