"""The SDP fragments that carry trickled candidates and ICE restarts (RFC 8840, 9, as draft-ietf-wish-whep-04 uses
them). Pure; `viewer.whep` reads what a viewer patches, and writes the relay's side of a restart."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pancar_relay.errors import FragmentError

MEDIA_TYPE = "application/trickle-ice-sdpfrag"
ICE_OPTIONS = "trickle ice2"

# Stands for the m-line among names of attributes, none of which has a blank.
_M_LINE = "m line"
_CREDENTIAL = r"[A-Za-z0-9+/=_-]"
_SOUND = {
    _M_LINE: re.compile(
        r"[a-z]{1,16} [0-9]{1,5}(/[0-9]{1,5})? [A-Za-z0-9/]{1,64}( [!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}){1,64}"
    ),
    "mid": re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,64}"),
    # RFC 8839, 5.4, and the three further characters that some stacks use.
    "ice-ufrag": re.compile(_CREDENTIAL + "{4,256}"),
    "ice-pwd": re.compile(_CREDENTIAL + "{22,256}"),
    # RFC 8839, 5.1, with a transport, an address and a type of any name: what of it can be reached is not asked.
    "candidate": re.compile(
        r"[A-Za-z0-9+/]{1,32} [0-9]{1,3} [A-Za-z0-9-]{1,16} [0-9]{1,10} [A-Za-z0-9.:%_-]{1,253} [0-9]{1,5} "
        r"typ [a-z]{1,16}( [!-~]{1,64} [!-~]{1,256}){0,16}"
    ),
    "end-of-candidates": re.compile(""),
    "ice-lite": re.compile(""),
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """The ICE session of one m-section, or of all that are bundled with it: `media` is the m-line's value, `mid` its
    identification ("" where it has none)."""

    ufrag: str
    pwd: str
    media: str
    mid: str
    candidates: tuple[str, ...] = ()
    complete: bool = False
    lite: bool = False


def read_fragment(text: str) -> Fragment:
    """Raises FragmentError for what is no sound fragment, and for one that names two ICE sessions."""
    found: dict[str, str] = {}
    candidates: list[str] = []
    for name, value in _lines(text):
        if name == "candidate":
            candidates.append(value)
        # Sections bundled with the first have m-lines and mids of their own, but the same credentials.
        elif found.setdefault(name, value) != value and name in ("ice-ufrag", "ice-pwd"):
            raise FragmentError(f"the fragment has two values of {name}")
    for name, what in ((_M_LINE, "m-line"), ("ice-ufrag", "ice-ufrag"), ("ice-pwd", "ice-pwd")):
        if name not in found:
            raise FragmentError(f"the fragment has no {what}")
    return Fragment(
        ufrag=found["ice-ufrag"],
        pwd=found["ice-pwd"],
        media=found[_M_LINE],
        mid=found.get("mid", ""),
        candidates=tuple(candidates),
        complete="end-of-candidates" in found,
        lite="ice-lite" in found,
    )


def write_fragment(fragment: Fragment) -> str:
    """`read_fragment` gives it back."""
    lines = ["a=ice-lite"] if fragment.lite else []
    lines.append(f"a=ice-options:{ICE_OPTIONS}")
    if fragment.mid:
        lines.append(f"a=group:BUNDLE {fragment.mid}")
    lines.append(f"m={fragment.media}")
    if fragment.mid:
        lines.append(f"a=mid:{fragment.mid}")
    lines += [f"a=ice-ufrag:{fragment.ufrag}", f"a=ice-pwd:{fragment.pwd}"]
    lines += [f"a=candidate:{candidate}" for candidate in fragment.candidates]
    if fragment.complete:
        lines.append("a=end-of-candidates")
    return "\r\n".join(lines) + "\r\n"


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """Name and value of each line that bears on the ICE session; unknown attributes are passed over."""
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n"):
        kind, value = line[:2], line[2:]
        if kind == "m=":
            name = _M_LINE
        elif kind == "a=" and value:
            name, _, value = value.partition(":")
        else:
            raise FragmentError("the fragment holds a line that is neither an attribute nor an m-line")
        if name in _SOUND:
            if not _SOUND[name].fullmatch(value):
                raise FragmentError(f"the fragment has a line that is not sound: {kind}{name}")
            yield name, value
