"""The wall has words for whatever the relay may say."""

from collections.abc import Callable
from typing import Any

from pancar_relay.ingest.faults import Fault

Script = Callable[..., Any]


def test_every_fault_has_a_brief_name(script: Script) -> None:
    assert set(script("return Object.keys(modules.words.BRIEF);")) == {fault.value for fault in Fault}


def test_every_state_has_a_label_and_a_meaning(script: Script) -> None:
    body = "return [modules.verdict.STATES, Object.keys(modules.words.LABEL), Object.keys(modules.words.MEANING)];"
    states, labels, meanings = script(body)
    assert labels == states
    assert meanings == states


def test_durations_for_people(script: Script) -> None:
    body = "return argument.map((ms) => modules.words.duration(ms));"
    spans = [-5, 999, 7000, 59_999, 60_000, 200_000, 600_000, 3_600_000, 7_500_000, 172_800_000]
    words = ["0 s", "0 s", "7 s", "59 s", "1 min 0 s", "3 min 20 s", "10 min", "1 h 0 min", "2 h 5 min", "2 days"]
    assert script(body, spans) == words
