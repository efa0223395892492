"""Feeds mutated manifests to the loader for FUZZ_SECONDS (60 by default): `python tests/fuzz/manifests.py`.

Fails on any exception but the loader's own, on a password that turns up in a message, and on an input that takes
seconds. The corpus of the operator's tests is the seed; an input that failed is written to the working directory.
"""

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from pancar_operator.manifests import ManifestError, parse

CORPUS: Final = Path(__file__).parents[1] / "operator" / "manifests"
# In the seeds wherever a password may stand.
PASSWORD: Final = "hunter2"
SLOW_SECONDS: Final = 3.0
LONGEST: Final = 20_000

TOKENS: Final[tuple[str, ...]] = (
    *"{}[]:,-?&*!|>'\"%@`#~<=\\\t\n \r\0",
    *("\n---\n", "...\n", "<<: ", "*a", "&a ", "!!python/object:os.system ", "!!binary ", "%YAML 1.1\n", "null", "~"),
    *(".inf", "-.INF", ".nan", "0x", "0o8", "1e999", "1_0", "9" * 400, "22:30", "yes", "2026-01-01", "=", "\ufeff"),
    *("\u2028", "\x85", "\ud800", "\u00e9", "\U0001d54f", "\x1b[31m", "{{", "[" * 60, "- " * 60, "? " * 20),
    *("rtsp://", "@", "://", "[::1]", "apiVersion: v1\n", "kind: List\nitems:\n", "kind: Secret\n", "metadata:\n"),
    *("spec:\n", "  name: ", "stringData: "),
)


def mutate(random: Random, seeds: list[str]) -> str:
    text: str = random.choice(seeds)
    for _ in range(random.choice((1, 1, 2, 3, 8, 30))):
        text = random.choice(MUTATIONS)(random, text, seeds)
    return text[:LONGEST]


def _insert(random: Random, text: str, _seeds: list[str]) -> str:
    at = random.randint(0, len(text))
    return text[:at] + random.choice(TOKENS) + text[at:]


def _delete(random: Random, text: str, _seeds: list[str]) -> str:
    at = random.randint(0, len(text))
    return text[:at] + text[at + random.choice((1, 1, 2, 5, 40)) :]


def _swap_lines(random: Random, text: str, _seeds: list[str]) -> str:
    lines = text.splitlines(keepends=True) or [""]
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return "".join(lines)


def _repeat(random: Random, text: str, _seeds: list[str]) -> str:
    start = random.randint(0, len(text))
    piece = text[start : start + random.randint(1, 200)]
    return text[:start] + piece * random.choice((2, 2, 3, 50)) + text[start:]


def _splice(random: Random, text: str, seeds: list[str]) -> str:
    other = random.choice(seeds)
    return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]


def _value(random: Random, text: str, _seeds: list[str]) -> str:
    """Another value after some colon."""
    places = [match.end() for match in re.finditer(r": ", text)]
    if not places:
        return text
    at = random.choice(places)
    end = text.find("\n", at)
    return text[:at] + random.choice(TOKENS) + (text[end:] if end >= 0 else "")


def _indent(random: Random, text: str, _seeds: list[str]) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = random.randrange(len(lines))
    lines[at] = " " * random.randint(0, 6) + lines[at].lstrip(" ")
    return "".join(lines)


Mutation = Callable[[Random, str, list[str]], str]
MUTATIONS: Final[tuple[Mutation, ...]] = (_insert, _insert, _delete, _swap_lines, _repeat, _splice, _value, _indent)


def check(text: str) -> str | None:
    """What is wrong with how the loader takes the text."""
    started = time.monotonic()
    try:
        parse([("fuzz.yaml", text)])
    except ManifestError as error:
        # Names are repeated on purpose, and a mutation may put anything into one.
        named = re.search(rf"\b(name|namespace|kind)\b[^\n]*{PASSWORD}", text)
        shown = str(error)
        if PASSWORD in shown and not named and not _is_field_name(text):
            return f"a password is in the message: {shown}"
        if not error.problems or any(problem.line < 0 or not problem.reason for problem in error.problems):
            return f"problems without a place or a reason: {error.problems}"
    except Exception as error:  # noqa: BLE001 - what the fuzzer is for
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - started
    return f"took {took:.1f} s" if took > SLOW_SECONDS else None


def _is_field_name(text: str) -> bool:
    """A mutation made the password a field's name of its own, and those are repeated."""
    return re.search(rf"[\s{{,?]\"?[\w./-]*{PASSWORD}[\w./-]*\"?(\s*:|\s*[,}}])", text) is not None


def main() -> int:
    seconds = float(os.environ.get("FUZZ_SECONDS", "60"))
    seed = int(os.environ.get("FUZZ_SEED", str(time.time_ns() % 1_000_000)))
    rng = Random(seed)  # noqa: S311 - repeatable, not secret
    seeds = [path.read_text() for path in sorted(CORPUS.rglob("*.yaml"))]
    deadline = time.monotonic() + seconds
    runs = 0
    while time.monotonic() < deadline:
        text = mutate(rng, seeds)
        wrong = check(text)
        runs += 1
        if wrong is not None:
            culprit = Path(f"manifest-{seed}-{runs}.yaml")
            culprit.write_text(text, errors="surrogatepass")
            sys.stderr.write(f"{wrong}\nFUZZ_SEED={seed}, input {runs}: {culprit}\n")
            return 1
    sys.stdout.write(f"manifests: {runs} inputs in {seconds:.0f} s without a finding (FUZZ_SEED={seed})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
