"""What a relay keeps for its next process: whole, private, its own, or not at all."""

import stat
from pathlib import Path

import pytest
from pancar_relay.errors import SettingsError
from pancar_relay.kept import Kept


def test_what_was_written_is_read(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "state", "u")
    assert kept.read("desired") is None
    for data in (b"", b"one\ntwo\n", bytes(range(256))):
        kept.write("desired", data)
        assert Kept(tmp_path / "state", "u").read("desired") == data
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["desired"]


def test_only_its_user_reads_it(tmp_path: Path) -> None:
    Kept(tmp_path / "state", "u").write("desired", b"password")
    assert stat.S_IMODE((tmp_path / "state" / "desired").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_what_another_relay_left_is_removed(tmp_path: Path) -> None:
    Kept(tmp_path, "other").write("desired", b"password")
    assert Kept(tmp_path, "u").read("desired") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"\n", b"pancar-relay 1 u\nwhole"])
def test_what_is_damaged_is_removed(tmp_path: Path, damage: bytes) -> None:
    kept = Kept(tmp_path, "u")
    kept.write("desired", b"whole")
    path = tmp_path / "desired"
    path.write_bytes(damage or path.read_bytes()[:-1])
    assert kept.read("desired") is None
    assert not path.exists()


def test_where_nothing_can_be_written_the_older_word_goes_too(tmp_path: Path) -> None:
    kept = Kept(tmp_path, "u")
    kept.write("desired", b"watch")
    # A folder in the way of the new file.
    (tmp_path / ".desired.new").mkdir()
    kept.write("desired", b"pause")
    assert kept.read("desired") is None


def test_a_folder_that_cannot_be_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="PANCAR_STATE_DIR"):
        Kept(tmp_path / "file" / "state", "u")
