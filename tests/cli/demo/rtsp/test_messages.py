"""The reader takes requests and binary frames apart, however the bytes were cut, and is not led astray by any bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_cli.demo.rtsp.messages import (
    MAX_BODY,
    MAX_HEAD,
    MAX_HEADERS,
    Interleaved,
    Reader,
    RemoteProtocolError,
    Request,
    interleaved,
)

OPTIONS = b"OPTIONS rtsp://h/main RTSP/1.0\r\nCSeq: 1\r\n\r\n"
BODY = b"GET_PARAMETER rtsp://h/main RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 5\r\n\r\nhello"


def read(*chunks: bytes) -> list[Request | Interleaved]:
    reader = Reader()
    return [message for chunk in chunks for message in reader.feed(chunk)]


def test_requests_with_and_without_body() -> None:
    first, second = read(OPTIONS + BODY)
    assert isinstance(first, Request)
    assert (first.method, first.uri, first.cseq, first.body) == ("OPTIONS", "rtsp://h/main", "1", b"")
    assert isinstance(second, Request)
    assert (second.cseq, second.body) == ("2", b"hello")


def test_repeated_headers_are_joined_and_names_have_no_case() -> None:
    (request,) = read(b"PLAY rtsp://h/ RTSP/1.0\r\nCSEQ: 7\r\nX-a: one\r\nx-A: two\r\n\r\n")
    assert isinstance(request, Request)
    assert request.cseq == "7"
    assert request.headers["x-a"] == "one, two"


frames = st.builds(Interleaved, st.integers(0, 255), st.binary(max_size=64))
pieces = st.lists(st.one_of(st.just(OPTIONS), st.just(BODY), st.just(b"\r\n"), frames), max_size=8)


@given(pieces, st.data())
def test_how_the_bytes_are_cut_makes_no_difference(parts: list[bytes | Interleaved], data: st.DataObject) -> None:
    wire = b"".join(part if isinstance(part, bytes) else interleaved(part.channel, part.payload) for part in parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    chunks = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    whole = read(wire)
    assert read(*chunks) == whole
    assert [part for part in whole if isinstance(part, Interleaved)] == [p for p in parts if isinstance(p, Interleaved)]


@given(st.lists(st.one_of(st.binary(max_size=200), st.just(OPTIONS), st.just(b"CSeq: 1\r\n")), max_size=12))
def test_any_bytes_give_messages_or_the_one_error(chunks: list[bytes]) -> None:
    with contextlib.suppress(RemoteProtocolError):
        for message in read(*chunks):
            assert isinstance(message, Request | Interleaved)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"x" * MAX_HEAD, 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\n" + b"A: b\r\n" * (MAX_HEADERS + 1) + b"\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1), 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nContent-Length: -1\r\n\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nContent-Length: \xc2\xb2\r\n\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nname\r\n\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nna me: x\r\n\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nX: a\nY: b\r\n\r\n", 400),
        (b"OPTIONS rtsp://h/ RTSP/1.0\r\nX: \xff\r\n\r\n", 400),
        (b"OPTIONS  RTSP/1.0\r\n\r\n", 400),
        (b"OPTIONS * RTSP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 505),
    ],
)
def test_refused(wire: bytes, status: int) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        read(wire)
    assert refused.value.status == status


def test_an_unusable_sequence_number_is_none() -> None:
    for value in (b"", b"1\xc2\xb2", b"-1", b"12345678901"):
        (request,) = read(b"OPTIONS * RTSP/1.0\r\nCSeq: " + value + b"\r\n\r\n")
        assert isinstance(request, Request)
        assert request.cseq is None
