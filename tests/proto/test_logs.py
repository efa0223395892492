"""What leaves a process as a log line never carries a credential, whichever way it came in."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from pancar_proto import logs

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ3YWxsIn0.c2lnbmF0dXJl"


@pytest.fixture(params=["console", "json"])
def stream(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure(request.param, stream=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "secret",
    [
        "rtsp://admin:hunter2@10.0.0.1/stream",
        "RTSP://admin:hun/hunter2#@10.0.0.1/stream",
        "rtsp://hunter2@10.0.0.1/",
        "https://admin:hunter2@example.org/",
        "rtsp://10.0.0.1/user=admin_password=hunter2_channel=1",
        "rtsp://10.0.0.1/live?user=admin&password=hunter2&channel=1",
        "Authorization: Bearer hunter2.a-b_c",
        f"cookie pancar={JWT}",
        "http://127.0.0.1:8080/enter#hunter2",
    ],
)
def test_secrets_are_redacted_in_every_place(stream: io.StringIO, secret: str) -> None:
    log = structlog.get_logger("test")
    log.info("pull.started", url=secret)
    log.info(secret)
    log.info("nested", values=[{"deep": secret}])
    logging.getLogger("library").warning("while asking %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("pull.failed")
    text = stream.getvalue()
    assert "pull.started" in text
    assert "pull.failed" in text
    assert "while asking" in text
    assert "hunter2" not in text
    assert JWT not in text
    assert "10.0.0.1" in text or "10.0.0.1" not in secret, "the address itself must stay readable"


def test_keys_that_name_secrets_are_hidden(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("event", password="hunter2", token="hunter2", camera="default/gate")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "default/gate" in text


def test_json_lines_stay_json() -> None:
    out = io.StringIO()
    root = logging.getLogger()
    handlers = root.handlers[:]
    try:
        logs.configure("json", stream=out)
        structlog.get_logger("test").info("pull.started", camera="default/gate", url='rtsp://u:pa"ss@h/x')
    finally:
        root.handlers[:] = handlers
        structlog.reset_defaults()
    (line,) = out.getvalue().splitlines()
    event = json.loads(line)
    assert event["event"] == "pull.started"
    assert event["camera"] == "default/gate"
    assert event["level"] == "info"
    assert event["url"] == "rtsp://***@h/x"


@pytest.mark.parametrize("text", ["rtsp://10.0.0.1:554/live", "http://127.0.0.1:8080/wall", "passwords are kept"])
def test_what_holds_no_secret_stays(text: str) -> None:
    assert logs.redact(text) == text


def test_a_reader_that_has_gone_fails_nobody(stream: io.StringIO) -> None:
    stream.close()
    structlog.get_logger().error("pull.ended")
