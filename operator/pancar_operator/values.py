"""The constrained values that resources are made of: names, labels, camera URLs, texts for people.

`model` builds its fields from these. Each validator's message says what is wanted and never repeats what it was given,
because what it was given may be a password in the wrong place.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, StrictBool, StrictFloat, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_LABEL_VALUE: Final = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LABEL_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")
_PRINTABLE_ASCII: Final = re.compile(r"[\x21-\x7e]*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")

URL_MAX: Final = 2048


def _matching(kind: str, pattern: re.Pattern[str], wanted: str, longest: int) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) > longest or pattern.fullmatch(value) is None:
            raise PydanticCustomError(kind, "must be {wanted}", {"wanted": wanted})
        return value

    return check


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "must not contain line breaks or control characters")
    if not value.strip():
        raise PydanticCustomError("blank", "must not be empty")
    return value


def _label_key(key: str) -> str:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or _SUBDOMAIN.fullmatch(prefix) is None):
        raise PydanticCustomError("label_key", "the part before the slash must be a DNS name like pancar.dev")
    if _LABEL_NAME.fullmatch(name) is None:
        raise PydanticCustomError(
            "label_key", "must be at most 63 letters, digits, '-', '_' or '.', beginning and ending alphanumeric"
        )
    return key


def _rtsp_url(url: str) -> str:
    return _url(url, schemes=("rtsp",), example="rtsp://10.20.1.7/stream1")


def _http_url(url: str) -> str:
    return _url(url, schemes=("http", "https"), example="http://10.20.1.7/onvif/device_service")


def _url(url: str, *, schemes: tuple[str, ...], example: str) -> str:
    """`url` if it is one that can be dialled and that carries no user info (RFC 3986, 3.2.1)."""
    _refuse_user_info(url)
    if len(url) > URL_MAX:
        raise PydanticCustomError("url_length", "must not be longer than {longest} characters", {"longest": URL_MAX})
    if _PRINTABLE_ASCII.fullmatch(url) is None:
        raise PydanticCustomError("url_characters", "must not contain spaces or characters beyond ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise PydanticCustomError("url", "is no URL: host or port cannot be read") from None
    if parts.scheme == "rtsps" and "rtsp" in schemes:
        raise PydanticCustomError("url_scheme", "must begin with rtsp://, as rtsps:// is not supported")
    if parts.scheme not in schemes or not url.lower().startswith(f"{parts.scheme}://"):
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise PydanticCustomError("url_scheme", "must begin with {wanted}", {"wanted": wanted})
    if not _is_host(parts) or port == 0:
        raise PydanticCustomError("url_host", "must name a host, like {example}", {"example": example})
    if parts.fragment:
        raise PydanticCustomError("url_fragment", "must not contain '#'; write it as %23 if the camera wants one")
    return url


def _refuse_user_info(url: str) -> None:
    # Passwords with an unescaped "/", "?" or "#" end the authority early, so that a parser would see a strange port
    # and no user info at all: hence a look at the raw text.
    authority = re.match(r"(?i)[a-z][a-z0-9+.-]*://[^/?#]*@", url)
    broken = re.match(r"(?i)[a-z][a-z0-9+.-]*://[^/?#@:\[\]]+:(?![0-9]*([/?#]|$))[^@]*@", url)
    if authority or broken:
        raise PydanticCustomError(
            "url_user_info",
            "must not contain a user name or password; put them in a Secret and name it in spec.source.credentialsRef",
        )


def _is_host(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


DnsLabel = Annotated[
    str,
    AfterValidator(_matching("dns_label", _LABEL, "at most 63 lower-case letters, digits or '-' (RFC 1123)", 63)),
]
DnsName = Annotated[
    str,
    AfterValidator(
        _matching("dns_name", _SUBDOMAIN, "lower-case letters, digits, '-' or '.', as in gate-2 (RFC 1123)", 253)
    ),
]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[
    str,
    AfterValidator(_matching("label_value", _LABEL_VALUE, "at most 63 letters, digits, '-', '_' or '.', or empty", 63)),
]
RtspUrl = Annotated[str, AfterValidator(_rtsp_url)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Clock = Annotated[str, AfterValidator(_matching("clock", _CLOCK, "a time of day like 22:30", 5))]
TimeZone = Annotated[str, AfterValidator(_matching("time_zone", _ZONE, "a time zone like Asia/Jakarta", 64))]
Line = Annotated[str, StringConstraints(max_length=128), AfterValidator(_printable)]
Sentence = Annotated[str, StringConstraints(max_length=512), AfterValidator(_printable)]

# Manifests are JSON in YAML's clothes: "5" is no number and 1 is no boolean, as with the API server.
Integer = StrictInt
Number = StrictFloat
Boolean = StrictBool
