"""Composed incidents: each fault really happens, and its twin has none. All of them:
`python -m tests.incidents.generate`."""

from __future__ import annotations

import pytest

from tests.incidents.generated.compose import compose, is_story, twin
from tests.incidents.generated.faults import FAULTS
from tests.incidents.generated.model import Composition
from tests.incidents.generated.play import play
from tests.incidents.machine import UnavailableError

pytestmark = pytest.mark.live
SHORT = (
    "own_decision",
    "bad_address",
    "killed_from_outside",
    "no_descriptor_left",
    "input_was_removed",
    "nobody_listens",
    "tmpfs_is_full",
)


def first(fault: str) -> Composition:
    """The first one of the development set."""
    return next(
        c for n in range(400) if not is_story(n) and (c := compose("development", n)).fault == fault
    )


@pytest.mark.parametrize("name", SHORT)
def test_a_fault_happens_and_its_twin_has_none(live: None, name: str) -> None:
    try:
        sick, healthy = (
            play(first(name)),
            play(twin(first(name))),
        )  # raises if the run's record says otherwise
    except UnavailableError as why:
        pytest.skip(str(why))
    assert sick.truth.cause != healthy.truth.cause == "none.healthy"
    assert sick.visible == FAULTS[name].visible
    assert (
        sick.report["execution"]["outcome"] != "success"
        and healthy.report["execution"]["outcome"] == "success"
    )
