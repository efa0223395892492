"""Every cause has a sentence for a person and a pace."""

import re
from pathlib import Path

import pancar_relay
import pytest
from pancar_relay.ingest.faults import Fault, describe


@pytest.mark.parametrize("fault", list(Fault))
def test_a_sentence_says_who_mends_it(fault: Fault) -> None:
    message = describe(fault).message
    assert message.endswith(".")
    assert re.search(r"mends this|reconnects by itself", message)


@pytest.mark.parametrize("fault", list(Fault))
def test_no_fault_is_tried_more_often_than_every_half_second(fault: Fault) -> None:
    pace = describe(fault).pace
    assert 1.0 <= pace.first <= pace.cap


def test_the_causes_are_those_that_the_engine_names() -> None:
    stub = (Path(pancar_relay.__file__).parent / "_engine.pyi").read_text()
    listed = re.search(r'"""The cause: ([^"]+?)\."""', stub)
    assert listed is not None
    assert set(re.split(r",\s+|\s+or\s+", listed[1])) == {str(fault) for fault in Fault}
