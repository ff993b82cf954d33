"""What the kernel's verifier says of each BPF program: python -m tools.verifier [fexit|sys_exit …]

Prints the instructions that it followed, the states that it kept, and the stack. Exits with 1 if a
program is refused, or needs more stack than older kernels allow.
"""

from __future__ import annotations

import ctypes as c
import functools
import re
import sys
from collections.abc import Iterator

import msgspec

from receiver.kernel.bpf_object import Object
from receiver.kernel.hooks import CALL_PREFIX, HOOKS
from receiver.kernel.libbpf import Library
from receiver.kernel.preflight import OBJECT
from receiver.kernel.probes import mismatch

STACK_BYTES = 512  # MAX_BPF_STACK, of all frames of a chain of calls
FRAME_BYTES = 32  # a frame is rounded up to this (check_max_stack_depth, Linux 6.1)
_LOG_BYTES = 1 << 16
_STATISTICS = 4  # BPF_LOG_STATS
_LAST_LINES = 12
_CALL, _LOAD_ADDRESS = 0x85, 0x18
_OF_PROGRAM, _OF_FUNCTION = 1, 4  # BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC
# bpf_loop, for which registers are saved after the stack was checked (optimize_bpf_loop)
_LOOP, _LOOP_BYTES = 181, 24


class Instruction(c.Structure):
    """struct bpf_insn, include/uapi/linux/bpf.h."""

    _fields_ = [
        ("code", c.c_uint8),
        ("registers", c.c_uint8),
        ("off", c.c_int16),
        ("imm", c.c_int32),
    ]


class Verdict(msgspec.Struct):
    """`instructions`: followed, not written. `stack`: bytes of the deepest chain of calls, as Linux
    6.1 counts them.
    """

    program: str
    instructions: int = 0
    states: int = 0
    microseconds: int = 0
    stack: int = 0
    refused: str = ""


def deepest_stack(code: list[Instruction], frames: list[int]) -> int:
    """Bytes of the deepest chain of calls.

    `frames`: those of each function, in the order of their beginnings.
    """
    targets = {
        at: at + 1 + one.imm
        for at, one in enumerate(code)
        if (one.code == _CALL and one.registers >> 4 == _OF_PROGRAM)
        or (one.code == _LOAD_ADDRESS and one.registers >> 4 == _OF_FUNCTION)
    }
    begins = sorted({0, *targets.values()})
    if len(begins) != len(frames):
        raise ValueError(f"{len(begins)} functions, and {len(frames)} frames")
    ends = [*begins[1:], len(code)]

    def loops(function: int) -> bool:
        inside = code[begins[function] : ends[function]]
        return any(
            one.code == _CALL and one.registers >> 4 == 0 and one.imm == _LOOP for one in inside
        )

    @functools.cache
    def deepest(function: int) -> int:
        called = {
            begins.index(target)
            for at, target in targets.items()
            if begins[function] <= at < ends[function]
        }
        own = frames[function] - (_LOOP_BYTES if loops(function) else 0)
        whole = -(-max(own, 1) // FRAME_BYTES) * FRAME_BYTES
        return whole + max((deepest(one) for one in called), default=0)

    return deepest(0)


def _unfit(library: Library, syscall_hook: str) -> set[str]:
    arguments = library.tracepoint_arguments(
        {h.tracepoint for h in HOOKS if h.tracepoint and not h.iterator}
    )
    return {
        h.program
        for h in HOOKS
        if h.syscall_hook not in ("", syscall_hook) or mismatch(h, arguments.get(h.tracepoint))
    }


def _read(verdict: Verdict, log: str, code: list[Instruction]) -> None:
    if found := re.search(r"processed (\d+) insns .* peak_states (\d+)", log):
        verdict.instructions, verdict.states = int(found[1]), int(found[2])
    if found := re.search(r"verification time (\d+) usec", log):
        verdict.microseconds = int(found[1])
    if found := re.search(r"stack depth ([\d+]+)", log):
        verdict.stack = deepest_stack(code, [int(part) for part in found[1].split("+")])


class _Attempt:
    """One load of the object: with a log of its own for each program, except for those whose reason
    for a refusal is asked for.
    """

    def __init__(self, library: Library, names: list[str], without_log: set[str]) -> None:
        self._object = Object(library, OBJECT)
        self._logs = {
            name: c.create_string_buffer(_LOG_BYTES) for name in names if name not in without_log
        }
        for hook in HOOKS:
            if hook.program not in names:
                self._object.skip(hook.program)
        for name, log in self._logs.items():
            self._object.keep_log(name, log, _STATISTICS)
        library.log.clear()
        self.refused = ""
        try:
            self._object.load()
        except OSError:
            log_lines = "\n".join(library.log)
            found = re.findall(r"prog '(\w+)': (?:failed|BPF program load failed)", log_lines)
            if not found:
                raise
            self.refused = found[-1]
        self.last_lines = list(library.log)[-_LAST_LINES:]

    def verdict(self, name: str) -> Verdict:
        verdict = Verdict(name)
        log = self._logs[name].value.decode("utf-8", "replace")
        code = self._object.instructions(name)
        _read(
            verdict, log, [Instruction.from_buffer_copy(code, at) for at in range(0, len(code), 8)]
        )
        return verdict

    def close(self) -> None:
        self._object.close()


def verdicts(library: Library, syscall_hook: str) -> Iterator[Verdict]:
    """Of each program, with the given kind of system-call hooks.

    A refused program is left out of the next attempt.
    """
    unfit = _unfit(library, syscall_hook)
    names = [hook.program for hook in HOOKS if hook.program not in unfit]
    asked: set[str] = (
        set()
    )  # refused with statistics alone in its log: the next attempt has the reason
    while True:
        attempt = _Attempt(library, names, asked)
        if not attempt.refused:
            yield from (attempt.verdict(name) for name in names)
            attempt.close()
            return
        if attempt.refused in asked:
            names.remove(attempt.refused)
            yield Verdict(attempt.refused, refused="\n".join(attempt.last_lines))
        asked.add(attempt.refused)
        attempt.close()


def main(kinds: list[str]) -> int:
    library, faults = Library(), 0
    for kind in kinds or ["sys_exit", "fexit"]:
        if kind == "fexit" and not library.takes_fexit(f"{CALL_PREFIX}socket"):
            print("fexit: this kernel runs no programs on functions")
            continue
        print(f"{kind}:\n  {'program':24} instructions states    ms  stack")
        total = 0
        for v in verdicts(library, kind):
            total += v.instructions
            name, milliseconds = f"  {v.program:24}", v.microseconds / 1000
            fault = " REFUSED" if v.refused else " TOO DEEP" if v.stack > STACK_BYTES else ""
            print(f"{name} {v.instructions:12} {v.states:6} {milliseconds:5.1f} {v.stack:6}{fault}")
            if v.refused:
                print(v.refused)
            faults += bool(fault)
        print(f"  {'all':24} {total:12}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
