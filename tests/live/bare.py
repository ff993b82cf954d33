"""The same program without and under `kwitness run`, by one shell, from one state:
what both print must be the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).parent.parent.parent
KWITNESS = (sys.executable, "-m", "receiver")
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "LC_", "LANG"))}
SPLIT = "=====under kwitness====="

# Each prints something that a process inherits. The first word is the program that inherits it.
PROGRAMS: dict[str, str] = {
    "signal mask": "grep SigBlk: /proc/self/status",
    "ignored signals": "grep SigIgn: /proc/self/status",
    "caught signals": "grep SigCgt: /proc/self/status",
    "pending signals": "grep -E 'SigPnd|ShdPnd' /proc/self/status",
    "umask": "grep Umask /proc/self/status",
    "user": "grep ^Uid /proc/self/status",
    "group": "grep ^Gid /proc/self/status",
    "groups": "grep ^Groups /proc/self/status",
    "inheritable capabilities": "grep CapInh /proc/self/status",
    "permitted capabilities": "grep CapPrm /proc/self/status",
    "effective capabilities": "grep CapEff /proc/self/status",
    "bounding set": "grep CapBnd /proc/self/status",
    "ambient capabilities": "grep CapAmb /proc/self/status",
    "no_new_privs": "grep NoNewPrivs /proc/self/status",
    "seccomp": "grep ^Seccomp /proc/self/status",
    "speculation": "grep Speculation /proc/self/status",
    "tracer": "grep TracerPid /proc/self/status",
    "processors": "grep Cpus_allowed /proc/self/status",
    "memory nodes": "grep Mems_allowed /proc/self/status",
    "huge pages": "grep THP /proc/self/status",
    "core file set-up": "cat /proc/self/coredump_filter",
    "dumpable": "stat -c %u /proc/self/mem",
    "limits": "cat /proc/self/limits",
    "soft limits": "ulimit -a -S",
    "hard limits": "ulimit -a -H",
    "limit of descriptors": "ulimit -n",
    "limit of locked memory": "ulimit -l",
    "limit of core files": "ulimit -c",
    "environment": "tr '\\0' '\\n' < /proc/self/environ | grep -v ^_=",
    "environment by name": "env | grep -v ^_= | sort",
    "locale": "locale",
    "working directory": "readlink /proc/self/cwd",
    "root directory": "readlink /proc/self/root",
    "nice value": "nice",
    "scheduling": "chrt -p $$ | sed 's/.*pid [0-9]*//; s/.*://'",
    "processor affinity": "taskset -p $$ | sed 's/.*://'",
    "io priority": "ionice -p $$",
    "timer slack": "cat /proc/self/timerslack_ns",
    "personality": "cat /proc/self/personality",
    "oom_score_adj": "cat /proc/self/oom_score_adj",
    "control groups": "cat /proc/self/cgroup",
    "process group": "cut -d' ' -f5 /proc/self/stat",
    "session": "cut -d' ' -f6 /proc/self/stat",
    "terminal": "cut -d' ' -f7 /proc/self/stat",
    "foreground group": "cut -d' ' -f8 /proc/self/stat",
    "descriptors": "find /proc/$$/fd -type l -printf '%f %M %l\\n'",
    "descriptor flags": (
        "for n in 0 1 2 3 4 9; do echo $n $(grep flags /proc/self/fdinfo/$n 2>&1 | tail -c 9); done"
    ),
    "stdin": "readlink /proc/self/fd/0",
    "stderr": "readlink /proc/self/fd/2",
    "terminals": "for n in 0 1 2; do test -t $n; echo $?; done",
    "reading stdin": "head -c 5 | wc -c",
    "reading descriptor 3": "head -c 5 <&3 | wc -c",
    "arguments": "tr '\\0' '\\n' < /proc/self/cmdline",
    "name": "cat /proc/self/comm",
    "mount namespace": "readlink /proc/self/ns/mnt",
    "pid namespace": "readlink /proc/self/ns/pid",
    "network namespace": "readlink /proc/self/ns/net",
    "user namespace": "readlink /proc/self/ns/user",
    "time namespace": "readlink /proc/self/ns/time",
    "children's pid namespace": "readlink /proc/self/ns/pid_for_children",
    "audit id": "cat /proc/self/loginuid",
    "security label": "cat /proc/self/attr/current",
    "keyring": "sed 's/ [0-9a-f-]* *[0-9]* / /' /proc/keys | grep -c _ses",
    "pending alarm": "awk '/alarm/' /proc/self/timers",
    "children": "read -r all < /proc/$$/task/$$/children; echo children: $all",
    "threads": "ls /proc/self/task | wc -l",
}


def compare(
    command: list[str],
    before: str = "",
    *,
    env: dict[str, str] | None = None,
    options: str = "--quiet",
) -> tuple[str, str]:
    """What `command` prints on stdout and stderr, and its status: bare, and under `kwitness run`.
    `before`: shell code that sets up what both inherit."""
    script = f"""
        shell=$$; {before}
        "$@"; echo "status $?"
        echo {SPLIT}
        {" ".join(map(_quoted, KWITNESS))} run {options} -- "$@"; echo "status $?"
    """
    done = subprocess.run(
        ["bash", "-c", f"echo $$; exec 2>&1; {script}", "bash", *command],
        input="0123456789" * 20,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=CLEAN | (env or {}),
        timeout=120,
        start_new_session=True,
    )
    shell, _, output = done.stdout.partition("\n")
    output = re.sub(rf"\b{shell}\b", "SHELL", output)
    bare, _, under = output.partition(f"{SPLIT}\n")
    assert bare.strip() and under.strip(), (output, done.stderr)
    return bare, under


def all_of_them(names: list[str] | None = None) -> list[str]:
    """One command that runs many of the programs, each under its name."""
    chosen = names or list(PROGRAMS)
    return [
        "sh",
        "-c",
        "\n".join(f"echo '== {name}'; {PROGRAMS[name]}" for name in chosen).replace(
            "children's", "childrens"
        ),
    ]


def _quoted(word: str) -> str:
    return f"'{word}'"


def some(values: Iterable[str], *short: str) -> list[ParameterSet]:
    """`short` are in `make test`; the others are in `make test-abuse`, because each one starts
    kwitness."""
    marks = {value: () if value in short else (pytest.mark.abuse,) for value in values}
    return [pytest.param(value, marks=mark) for value, mark in marks.items()]
