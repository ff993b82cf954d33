"""The programs are accepted here, and would be by older kernels as far as that can be seen here.

The start waits for the verifier.
"""

from __future__ import annotations

import functools

import pytest

from receiver.kernel.libbpf import Library
from tools.verifier import STACK_BYTES, Verdict, verdicts

pytestmark = pytest.mark.live
INSTRUCTIONS = (
    200_000  # followed for all programs; a function that is no longer global multiplies them
)


@functools.cache
def of_all() -> list[Verdict]:
    return list(verdicts(Library(), "sys_exit"))


@pytest.fixture
def found(live: None) -> list[Verdict]:
    return of_all()


def test_every_program_is_accepted_and_fits_the_stack_of_linux_6_1(found: list[Verdict]) -> None:
    assert {v.program for v in found} >= {"on_fork", "on_call", "on_tasks", "on_oom_memory"}
    assert {v.program: v.refused for v in found if v.refused} == {}
    assert {v.program: v.stack for v in found if not 0 < v.stack <= STACK_BYTES} == {}


def test_the_verifier_follows_few_instructions(found: list[Verdict]) -> None:
    assert 0 < sum(v.instructions for v in found) < INSTRUCTIONS
