"""SDP fragments of trickle ICE, without a network."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pancar_relay.errors import FragmentError
from pancar_relay.viewer.sdpfrag import Fragment, read_fragment, write_fragment

# draft-ietf-wish-whep-04, 4.5.2
EXAMPLE = """a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw network-id 1
a=end-of-candidates
"""
ICE_CHARS = string.ascii_letters + string.digits + "+/"


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_the_drafts_example_is_read(newline: str) -> None:
    read = read_fragment(EXAMPLE.replace("\n", newline))
    assert (read.ufrag, read.pwd) == ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1")
    assert (read.media, read.mid) == ("audio 9 UDP/TLS/RTP/SAVPF 111", "0")
    assert [candidate.split()[2] for candidate in read.candidates] == ["udp", "tcp"]
    assert (read.complete, read.lite) == (True, False)


def test_credentials_may_stand_at_the_session_and_sections_be_many() -> None:
    read = read_fragment(
        "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\na=ice-options:trickle\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\na=ice-ufrag:EsAw\n"
    )
    assert (read.media, read.mid, read.candidates) == ("audio 9 UDP/TLS/RTP/SAVPF 111", "0", ())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("", "neither"),
        (EXAMPLE.replace("a=mid:0", "v=0"), "neither"),
        (EXAMPLE.replace("a=mid:0", "a="), "neither"),
        (EXAMPLE.replace("a=mid:0", ""), "neither"),
        (EXAMPLE.replace("a=mid:0", "a=mid:"), "a=mid"),
        (EXAMPLE.replace("a=ice-ufrag", "a=ufrag"), "no ice-ufrag"),
        (EXAMPLE.replace("a=ice-pwd", "a=pwd"), "no ice-pwd"),
        (EXAMPLE.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111\n", ""), "no m-line"),
        (EXAMPLE.replace("m=audio 9", "m=audio"), "not sound: m="),
        (EXAMPLE.replace("ufrag:EsAw", "ufrag:Es Aw"), "a=ice-ufrag"),
        (EXAMPLE.replace("192.0.2.1 61764", "192.0.2.1"), "a=candidate"),
        (EXAMPLE + "a=ice-ufrag:Other\n", "two values of ice-ufrag"),
        (EXAMPLE + "a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui2\n", "two values of ice-pwd"),
    ],
)
def test_what_is_wrong_is_named(wrong: str, said: str) -> None:
    with pytest.raises(FragmentError, match=said):
        read_fragment(wrong)


def words(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


CANDIDATE = st.builds(
    lambda foundation, component, priority, port, extensions: " ".join(
        [foundation, str(component), "udp", str(priority), "192.0.2.1", str(port), "typ", "host", *extensions]
    ),
    words(ICE_CHARS, 1, 32),
    st.integers(1, 256),
    st.integers(0, 2**31 - 1),
    st.integers(0, 65535),
    st.lists(st.sampled_from(["generation 0", "tcptype passive", "ufrag abcd"]), max_size=3),
)


@given(
    st.builds(
        Fragment,
        ufrag=words(ICE_CHARS, 4, 256),
        pwd=words(ICE_CHARS, 22, 256),
        media=st.sampled_from(["video 9 UDP/TLS/RTP/SAVPF 96", "audio 0 RTP/SAVPF 0 8", "application 9 DTLS/SCTP x"]),
        mid=words(ICE_CHARS.replace("/", "-"), 0, 16),
        candidates=st.lists(CANDIDATE, max_size=5).map(tuple),
        complete=st.booleans(),
        lite=st.booleans(),
    )
)
def test_what_is_written_is_read(fragment: Fragment) -> None:
    assert read_fragment(write_fragment(fragment)) == fragment


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(0, len(EXAMPLE)), st.integers(0, 40))
def test_nothing_but_its_own_error_comes_of_any_text(junk: str, at: int, cut: int) -> None:
    for text in (junk, EXAMPLE[:at] + junk + EXAMPLE[at + cut :]):
        try:
            read = read_fragment(text)
        except FragmentError:
            continue
        # Whatever is taken can be written, with no line added by what it holds.
        assert read_fragment(write_fragment(read)) == read
