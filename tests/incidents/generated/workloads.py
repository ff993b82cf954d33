"""Workloads: twelve ways to run stages of steps, from a single program to pools and
orchestrators."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.incidents.generated.model import Stage, Step
from tests.incidents.generated.programs import helper, need, program

Commands = list[list[str]]
Orchestrator = Callable[[Path, str, "list[tuple[bool, Commands]]"], list[str]]


def command_of(folder: Path, step: Step) -> list[str]:
    """The words of one step, after its program and its job file were made."""
    jobs = folder / "conf" / f"{step.name}.cfg"
    jobs.parent.mkdir(exist_ok=True)
    jobs.write_text("".join(f"{line}\n" for line in step.operations))
    words = program(folder, step.language, "step", step.name, step.options)
    return [*step.before, *words, str(jobs)]


def workload(folder: Path, name: str, structure: str, stages: Sequence[Stage]) -> list[str]:
    """The command of the whole."""
    made = [(s.tolerant, [command_of(folder, step) for step in s.steps]) for s in stages]
    return STRUCTURES[structure](folder, name, made)


def _script(folder: Path, name: str, text: str) -> str:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def _shell_lines(tolerant: bool, commands: Commands, pipe: str = "") -> str:
    lines = [shlex.join(c) + pipe for c in commands]
    if len(lines) == 1:
        return f"{lines[0]} || true\n" if tolerant else f"{lines[0]}\n"
    start = "".join(f"{line} & p{n}=$!\n" for n, line in enumerate(lines))
    wait = "".join(f"wait $p{n} || bad=$?\n" for n in range(len(lines)))
    return f"bad=0\n{start}{wait}" + ("" if tolerant else "[ $bad = 0 ]\n")


def _bash(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    text = "".join(_shell_lines(*stage) for stage in stages)
    return ["bash", _script(folder, f"{name}.sh", f"set -euo pipefail\n{text}echo finished\n")]


def _alone(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    if len(stages) == 1 and len(stages[0][1]) == 1 and not stages[0][0]:
        return stages[0][1][0]
    text = "".join(_shell_lines(*stage) for stage in stages)
    return ["sh", _script(folder, name, f"set -e\n{text}")]


def _pipes(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    """Every step writes to another program."""
    out = shlex.quote(str(folder / "out.log"))
    text = "".join(_shell_lines(*stage, f" | tee -a {out} | sed -n '$='") for stage in stages)
    return ["bash", _script(folder, f"{name}.sh", f"set -eo pipefail\n{text}")]


def _make(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    need("make")
    rules, last = [], ""
    for number, (tolerant, commands) in enumerate(stages):
        targets = [f"s{number}_{n}" for n in range(len(commands))]
        sign = "-" if tolerant else ""
        for target, words in zip(targets, commands, strict=True):
            rules.append(
                f"{target}: {last}\n\t{sign}" + shlex.join(words).replace("$", "$$") + "\n"
            )
        last = " ".join(targets)
    text = f"all: {last}\n" + "".join(rules) + ".PHONY: all\n"
    return ["make", "-s", "-j4", "-f", _script(folder, f"{name}.mk", text)]


def _xargs(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    need("xargs")
    text = "set -e\n"
    for number, (tolerant, commands) in enumerate(stages):
        files = [
            _script(folder, f"{name}-{number}-{n}", f"exec {shlex.join(c)}\n")
            for n, c in enumerate(commands)
        ]
        text += f"printf '%s\\n' {shlex.join(files)} | xargs -n 1 -P 4 sh" + (
            " || true\n" if tolerant else "\n"
        )
    return ["sh", _script(folder, name, text)]


def _tcl(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    need("tcl")
    text = ""
    for number, (tolerant, commands) in enumerate(stages):
        words = commands[0]
        if len(commands) > 1:
            words = ["sh", _script(folder, f"{name}-{number}", _shell_lines(False, commands))]
        line = "exec " + " ".join("{" + w + "}" for w in words) + " >@stdout 2>@stderr"
        text += f"catch {{{line}}}\n" if tolerant else f"{line}\n"
    return ["tclsh", _script(folder, f"{name}.tcl", text)]


def _plan_file(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> str:
    path = folder / "conf" / f"{name}.plan"
    lines = (
        "\t".join([str(int(tolerant)), *("\x1f".join(c) for c in commands)])
        for tolerant, commands in stages
    )
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def _runner(language: str) -> Orchestrator:
    def make(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
        return [*program(folder, language, "runner", name), _plan_file(folder, name, stages)]

    return make


def _pool(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    return [*helper(folder, "pool", name), _plan_file(folder, name, stages)]


def _code(folder: Path, name: str, stages: list[tuple[bool, Commands]]) -> list[str]:
    """As `python -c`: the program has no file."""
    lines = ["import subprocess, sys"]
    for tolerant, commands in stages:
        lines.append(f"p = [subprocess.Popen(c) for c in {commands!r}]; s = [x.wait() for x in p]")
        if not tolerant:
            lines.append("if any(s): sys.exit(max(map(abs, s)))")
    return [sys.executable, "-S", "-c", "\n".join(lines)]


STRUCTURES: dict[str, Orchestrator] = {
    "alone": _alone,
    "bash": _bash,
    "pipes": _pipes,
    "make": _make,
    "xargs": _xargs,
    "tcl": _tcl,
    "python": _runner("python"),
    "pool": _pool,
    "code": _code,
    "node": _runner("node"),
    "perl": _runner("perl"),
    "go": _runner("go"),
    "java": _runner("java"),
}
