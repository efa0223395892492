"""Whom a command asks where it is not said."""

from pathlib import Path

import pytest
import typer
from pancar_cli.source import has_cluster, is_cluster


def test_what_is_said_counts_and_must_agree(tmp_path: Path) -> None:
    assert not is_cluster(None, None, None)
    assert not is_cluster(tmp_path, None, None)
    assert is_cluster(None, tmp_path, None)
    assert is_cluster(None, None, "town")
    with pytest.raises(typer.BadParameter, match="--state-dir is about one machine"):
        is_cluster(tmp_path, None, "town")


def test_a_cluster_is_found_as_kubectl_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert not has_cluster()
    own = tmp_path / ".kube" / "config"
    own.parent.mkdir()
    own.touch()
    assert has_cluster()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert not has_cluster()
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{own}")
    assert has_cluster()
