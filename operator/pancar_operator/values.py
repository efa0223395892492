"""The constrained values that resources are made of: names, labels, camera URLs, texts for people.

`model` builds its fields from these. Each message says what is wanted and never repeats what it was given.
"""

from typing import Annotated, Final

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, WithJsonSchema

from pancar_operator.rules import Pattern, Text

URL_MAX: Final = 2048

_LABEL: Final = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_LABEL_NAME: Final = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_HOST: Final = "[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?"
_PORT: Final = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_AMOUNT: Final = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?"
_CONTROL: Final = "[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029]"
# What Unicode counts as space and is no control character.
_SPACE: Final = " \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"


def _ipv6() -> str:
    """RFC 3986, 3.2.2: IPv6address."""
    group, octet = "[0-9A-Fa-f]{1,4}", "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    last = rf"({group}:{group}|{octet}(\.{octet}){{3}})"
    before = ("", *(f"(({group}:){{0,{most}}}{group})?" for most in range(7)))
    return "|".join(
        [
            f"({group}:){{6}}{last}",
            *(f"{before[5 - count]}::({group}:){{{count}}}{last}" for count in range(5, -1, -1)),
            f"{before[6]}::{group}",
            f"{before[7]}::",
        ]
    )


def _url(*schemes: str, example: str, also_refused: tuple[Pattern, ...] = ()) -> Text:
    """What can be dialled and carries no user info (RFC 3986, 3.2.1)."""
    scheme = f"(?i:{'|'.join(schemes)})://"
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    return Text(
        # Passwords with an unescaped "/", "?" or "#" end the authority early, so that a parser would see a strange
        # port and no user info at all: hence the second half.
        Pattern(
            "must not contain a user name or password; put them in a Secret and name it in spec.source.credentialsRef",
            r"^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*|[^/?#@:\[\]]+:[0-9]*[^0-9/?#@][^@]*)@",
            refused=True,
        ),
        Pattern("must not contain spaces or characters beyond ASCII", r"[\x21-\x7e]*"),
        *also_refused,
        Pattern(f"must begin with {wanted}", f"{scheme}.*"),
        Pattern(f"must name a host, like {example}", rf"{scheme}({_HOST}|\[[^/?#]*)([:/?#].*)?"),
        Pattern("must not contain '#'; write it as %23 if the camera wants one", "#.", refused=True),
        Pattern(
            "is no URL: host or port cannot be read", rf"{scheme}({_HOST}|\[({_ipv6()})\])(:({_PORT})?)?([/?#].*)?"
        ),
        unquoted=True,
    )


_RTSPS: Final = Pattern("must begin with rtsp://, as rtsps:// is not supported", "^(?i:rtsps)://", refused=True)

DnsLabel = Annotated[
    str,
    Field(max_length=63),
    Text(Pattern("must be at most 63 lower-case letters, digits or '-' (RFC 1123)", _LABEL)),
]
DnsName = Annotated[
    str,
    Field(max_length=253),
    Text(Pattern("must be lower-case letters, digits, '-' or '.', as in gate-2 (RFC 1123)", _SUBDOMAIN)),
]
# Patterns of namespaces, as RelayPools take them.
NamespaceGlob = Annotated[
    str,
    Field(max_length=63),
    Text(
        Pattern("must be a namespace of lower-case letters, digits or '-', or have * for some of them", "[a-z0-9*-]+")
    ),
]
LabelKey = Annotated[
    str,
    Field(max_length=317),
    Text(
        Pattern("the part before the slash must be a DNS name like pancar.dev", f"(({_SUBDOMAIN})/)?[^/]*"),
        Pattern("the part before the slash must not be longer than 253 characters", "^[^/]{254}.*/", refused=True),
        Pattern(
            "must be at most 63 letters, digits, '-', '_' or '.', beginning and ending alphanumeric",
            f"([^/]*/)?{_LABEL_NAME}",
        ),
    ),
]
LabelValue = Annotated[
    str,
    Field(max_length=63),
    Text(Pattern("must be at most 63 letters, digits, '-', '_' or '.', or empty", f"({_LABEL_NAME})?")),
]
RtspUrl = Annotated[
    str, Field(max_length=URL_MAX), _url("rtsp", example="rtsp://10.20.1.7/stream1", also_refused=(_RTSPS,))
]
HttpUrl = Annotated[
    str, Field(max_length=URL_MAX), _url("http", "https", example="http://10.20.1.7/onvif/device_service")
]
Clock = Annotated[
    str, Field(max_length=5), Text(Pattern("must be a time of day like 22:30", "([01][0-9]|2[0-3]):[0-5][0-9]"))
]
TimeZone = Annotated[
    str,
    Field(max_length=64),
    Text(Pattern("must be a time zone like Asia/Jakarta", "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")),
]
_PRINTABLE: Final = Text(
    Pattern("must not contain line breaks or control characters", _CONTROL, refused=True),
    Pattern("must not be empty", f".*[^{_SPACE}].*"),
)
Line = Annotated[str, Field(max_length=128), _PRINTABLE]
Sentence = Annotated[str, Field(max_length=512), _PRINTABLE]
# Of metav1.Condition.
ConditionType = Annotated[
    str, Field(max_length=63), Text(Pattern("must be one CamelCase word like Ready", "[A-Z][A-Za-z0-9]*"))
]
Reason = Annotated[
    str, Field(max_length=128), Text(Pattern("must be one CamelCase word like Live", "[A-Z][A-Za-z0-9]*"))
]
ResourceName = Annotated[
    str, Field(max_length=63), Text(Pattern("must be a resource like cpu or memory", f"([^/]+/)?{_LABEL_NAME}"))
]
# Pods and Services are named after their pool, and Services' names begin with a letter (RFC 1035); the rest of the 63
# characters is left for what Kubernetes appends.
POOL_NAME: Final = Pattern(
    "must have a name of at most 40 lower-case letters, digits or '-' that begins with a letter, because pods and "
    "Services are named after it (metadata.name)",
    "[a-z]([a-z0-9-]{0,38}[a-z0-9])?",
)


def _written(amount: object) -> object:
    return str(amount) if type(amount) is int else amount


# An amount as Kubernetes writes them, with the schema that its own kinds have: a number or a text.
Quantity = Annotated[
    str,
    Field(max_length=32),
    Text(Pattern("must be an amount like 500m, 2 or 1Gi", _AMOUNT)),
    BeforeValidator(_written),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "minimum": 0, "maxLength": 32, "pattern": f"^{_AMOUNT}$"}),
]

# Manifests are JSON in YAML's clothes: "5" is no number and 1 is no boolean, as with the API server.
Integer = StrictInt
Number = StrictFloat
Boolean = StrictBool
