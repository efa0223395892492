"""Whether an object already is what server-side apply would make of it; pure, called by `fleet` before it writes.

A body that is applied again costs the API server as much as a change. So it is compared first, with the live object
and with the fields of it that are ours (metadata.managedFields, in the notation of KEP-555): all that is wanted must
be there, and nothing may be ours that is wanted no more.
"""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

Fields = Mapping[str, Any]

_AMOUNT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
# Of a container's resources.
_AMOUNTS: Final = frozenset({"requests", "limits"})
# What the API server is told, and tells nobody else.
_IDENTITY: Final = frozenset({"apiVersion", "kind"})
_NAMES: Final = frozenset({"name", "namespace"})


def covers(live: Mapping[str, Any], wanted: Mapping[str, Any], manager: str) -> bool:
    """Whether `manager` applying `wanted` would leave the object as it is."""
    owned = _owned(live, manager)
    if owned is None:
        return False
    metadata = {key: value for key, value in wanted["metadata"].items() if key not in _NAMES}
    rest = {key: value for key, value in wanted.items() if key not in _IDENTITY}
    return _block({**rest, "metadata": metadata}, live, owned)


def _owned(live: Mapping[str, Any], manager: str) -> Fields | None:
    for entry in live["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry["operation"] == "Apply" and not entry.get("subresource"):
            fields: Fields = entry.get("fieldsV1", {})
            return fields
    return None


def _held(wanted: Any, live: Any, owned: Fields | None) -> bool:
    if owned is None:
        return wanted is None
    if not owned.keys() - {"."}:
        # A value, or a list or block that is set as a whole.
        return _same(wanted, live)
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and _block(wanted, live, owned)
    if isinstance(wanted, list):
        return isinstance(live, list) and _keyed(wanted, live, owned)
    return False


def _block(wanted: Mapping[str, Any], live: Mapping[str, Any], owned: Fields) -> bool:
    if any(field[2:] not in wanted for field in owned if field.startswith("f:")):
        return False
    for key, value in wanted.items():
        compare = _same_amounts if key in _AMOUNTS and isinstance(value, Mapping) else _held
        if not compare(value, live.get(key), owned.get(f"f:{key}")):
            return False
    return True


def _keyed(wanted: Sequence[Any], live: Sequence[Any], owned: Fields) -> bool:
    """Lists whose entries are told apart by some of their fields."""
    left = list(wanted)
    for name, fields in owned.items():
        if not name.startswith("k:"):
            continue
        keys = json.loads(name[2:])
        ours = _entry(left, keys)
        theirs = _entry(live, keys)
        if ours is None or theirs is None or not _held(ours, theirs, fields):
            return False
        left.remove(ours)
    return not left


def _entry(entries: Sequence[Any], keys: Mapping[str, Any]) -> Any:
    return next((entry for entry in entries if isinstance(entry, Mapping) and keys.items() <= entry.items()), None)


def _same(wanted: Any, live: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(_same(wanted.get(key), live.get(key)) for key in wanted.keys() | live.keys())
    if isinstance(wanted, list) and isinstance(live, list):
        return len(wanted) == len(live) and all(map(_same, wanted, live))
    return bool(wanted == live)


def _same_amounts(wanted: Mapping[str, str], live: Any, owned: Fields | None) -> bool:
    """The API server rewrites amounts: 1000m becomes 1."""
    if not isinstance(live, Mapping) or owned is None:
        return False
    ours = {field[2:] for field in owned if field.startswith("f:")}
    return ours == wanted.keys() and all(
        name in live and _amount(amount) == _amount(live[name]) for name, amount in wanted.items()
    )


def _amount(text: str) -> Decimal:
    read = _AMOUNT.fullmatch(text)
    if read is None:
        # The API server's own notation for the very large and very small, as 12e6.
        return Decimal(text)
    number, unit = Decimal(read[1]), read[2] or ""
    if unit == "m":
        return number / 1000
    power = "KMGTPE".index(unit[0].upper()) + 1 if unit else 0
    return number * Decimal(1024 if unit.endswith("i") else 1000) ** power
