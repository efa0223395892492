"""The state folder: private, and one `pancar up` at a time."""

import stat
from pathlib import Path

import pytest
from pancar_cli.facts import Facts
from pancar_cli.state import Running, StateError, StateFolder, default_folder
from pancar_operator.model import Key


def test_everything_in_it_is_private(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "deep" / "state")
    state.tell(Running("http://127.0.0.1:1", frozenset()))
    state.tell_facts(Facts(Key("default", "default")))
    for path in (state.path, *state.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_the_socket_folder_is_made_private_again(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    state.run.chmod(0o755)
    assert stat.S_IMODE(StateFolder(tmp_path).run.stat().st_mode) == 0o700


def test_only_one_may_hold_it(tmp_path: Path) -> None:
    first, second = StateFolder(tmp_path), StateFolder(tmp_path)
    with first.lock(), pytest.raises(StateError, match="Another pancar up"), second.lock():
        pass
    with second.lock():
        pass


def test_what_the_running_one_told_ends_with_it(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    told = Running("http://127.0.0.1:8080", frozenset({"ab", "cd"}))
    facts = Facts(Key("default", "default"))
    assert (state.running(), state.facts()) == (None, None)
    with state.lock():
        assert state.running() is None
        state.tell(told)
        assert StateFolder(tmp_path).running() == told
        assert StateFolder(tmp_path).facts() is None
        state.tell_facts(facts)
        assert StateFolder(tmp_path).facts() == facts
    assert (state.running(), state.facts()) == (None, None)
    state.tell(told)
    state.tell_facts(facts)
    assert (state.running(), state.facts()) == (None, None), "left over by one that was killed"


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    with StateFolder(tmp_path).sockets() as folder:
        assert folder == tmp_path / "run"
    with StateFolder(tmp_path / ("x" * 100)).sockets() as folder:
        assert len(str(folder)) < 60
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_what_relays_came_in_by_ends_with_the_run_or_with_the_next_one(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    left = [state.run / name for name in ("control.sock", "enrol.sock", "ca.crt", "a.token", "b.token")]
    for path in left:
        path.touch()
    with state.sockets() as folder:
        assert not any(path.exists() for path in left), "left over by one that was killed"
        (folder / "c.token").touch()
    assert list(folder.glob("*.token")) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be used"):
        StateFolder(tmp_path / "file")


def test_the_default_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "pancar"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "state" / "pancar"
