"""The tool that shows what the verifier says of each program: how it adds up the stack."""

from __future__ import annotations

import pytest

from tools.verifier import Instruction, deepest_stack

EXIT = Instruction(0x95, 0, 0, 0)
LOOP = Instruction(0x85, 0, 0, 181)  # the helper bpf_loop


def call(distance: int) -> Instruction:
    return Instruction(0x85, 1 << 4, 0, distance)


def address(distance: int) -> list[Instruction]:
    """Of a function, for a loop; the second half of the instruction is another one."""
    return [Instruction(0x18, 4 << 4, 0, distance), Instruction()]


def test_a_frame_is_rounded_up_and_only_one_chain_counts() -> None:
    code = [call(2), call(2), EXIT, EXIT, EXIT]  # to 3, and to 4
    assert deepest_stack(code, [8, 33, 100]) == 32 + 128


def test_a_loop_calls_its_function_and_its_saved_registers_do_not_count() -> None:
    code = [*address(3), LOOP, EXIT, EXIT]
    assert deepest_stack(code, [32 + 24, 0]) == 32 + 32
    assert deepest_stack(code, [33 + 24, 0]) == 64 + 32


def test_a_function_that_the_statistics_do_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 functions, and 1 frames"):
        deepest_stack([call(1), EXIT, EXIT], [8])
