"""Manifests as people write them: every wrong one is refused with its place and reason, and without its secrets.

`manifests/wrong` holds one file a mistake; the comments at its top are the problems to be found, "line: what".
"""

import re
from pathlib import Path

import pytest
from pancar_operator.manifests import ManifestError, files, load, parse
from pancar_operator.model import Day, Key, OwnerType, Pull, Transport

CORPUS = Path(__file__).with_name("manifests")
WRONG = sorted((CORPUS / "wrong").glob("*.yaml"))
GOOD = sorted(path for path in (CORPUS / "good").iterdir())

GATE = """\
apiVersion: pancar.dev/v1alpha1
kind: Camera
metadata: {name: gate}
spec: {source: {main: {url: "rtsp://192.0.2.10/"}}}
"""


@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_each_wrong_manifest_is_refused_with_all_its_problems(path: Path) -> None:
    text = path.read_text()
    expected = re.findall(r"^# (\d+: .+)$", text, flags=re.MULTILINE)
    with pytest.raises(ManifestError) as caught:
        parse([(path.name, text)])
    assert [f"{problem.line}: {str(problem).partition(': ')[2]}" for problem in caught.value.problems] == expected
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_each_good_manifest_parses(path: Path) -> None:
    assert load([path]).cameras


def test_every_field_of_a_camera_is_read() -> None:
    manifests = load([CORPUS / "good" / "everything.yaml"])
    camera = manifests.cameras[Key("bandung", "asia-afrika.1")]
    spec = camera.spec
    assert camera.metadata.labels["zone"] == "flood"
    assert (spec.source.main.transport, spec.source.max_sessions, spec.source.audio) == (Transport.TCP, 4, False)
    assert spec.source.sub is not None
    assert spec.source.sub.url == "rtsp://[2001:db8::10]/Streaming/Channels/102"
    assert spec.owner is not None
    assert spec.owner.type is OwnerType.GOVERNMENT
    assert spec.location is not None
    assert spec.location.coordinates is not None
    assert spec.location.coordinates.longitude == 107
    assert spec.pull is Pull.ON_DEMAND
    assert spec.paused is not None
    assert spec.maintenance[0].days == (Day.SATURDAY, Day.SUNDAY)
    # Unquoted in the file: a time of day, and not the number YAML 1.1 would make of it.
    assert spec.maintenance[0].start == "22:00"
    credentials = manifests.credentials[Key("bandung", "asia-afrika")]
    assert (credentials.username, credentials.password) == ("viewer", "p@ss: w/rd #1")
    assert "w/rd" not in repr(manifests)
    pool = manifests.pools[Key("pancar", "city")]
    assert pool.spec.takes("kota-baru")
    assert not pool.spec.takes("desa")


def test_problems_come_from_all_files_in_their_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml"):
        (tmp_path / name).write_text(GATE.replace("gate", "Gate") + "---\n" + GATE.replace("rtsp://", "ftp://"))
    with pytest.raises(ManifestError) as caught:
        load([tmp_path])
    assert [(Path(problem.file).name, problem.line) for problem in caught.value.problems] == [
        ("a.yaml", 3),
        ("a.yaml", 9),
        ("b.yaml", 3),
        ("b.yaml", 9),
    ]


def test_a_secret_may_stand_in_another_file(tmp_path: Path) -> None:
    everything = (CORPUS / "good" / "everything.yaml").read_text()
    for number, document in enumerate(everything.split("\n---\n")):
        (tmp_path / f"{number}.yaml").write_text(document)
    assert len(load([tmp_path]).credentials) == 1


def test_the_same_name_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GATE)
    (tmp_path / "b.yaml").write_text("# moved\n" + GATE)
    with pytest.raises(ManifestError, match=r"b\.yaml:2: Camera default/gate is declared twice, first at .*a\.yaml:1;"):
        load([tmp_path])


def test_folders_are_read_to_their_depth_and_files_once(tmp_path: Path) -> None:
    for name in ("one.yaml", "deep/two.yml", "deep/three.json", ".git/four.yaml", "notes.txt", "five.yaml~"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    found = files([tmp_path, tmp_path / "one.yaml"])
    assert sorted(path.name for path in found) == ["one.yaml", "three.json", "two.yml"]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cameras\.yaml: is not there"):
        load([tmp_path / "cameras.yaml"])


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match=r"cameras\.yaml: is not UTF-8"):
        load([path])
    path.write_text("a: \x07")
    with pytest.raises(ManifestError, match="control characters"):
        load([path])


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(GATE, encoding="utf-8-sig")
    assert list(load([path]).cameras) == [Key("default", "gate")]
