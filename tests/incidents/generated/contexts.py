"""Contexts: what is around the workload, and where its standard output goes."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable

from tests.incidents.generated.bench import Bench
from tests.incidents.lab import ROOT
from tests.incidents.machine import UnavailableError

Wrapper = Callable[[Bench, "list[str]"], "list[str]"]
OUTPUTS = ("file", "pipe", "null", "terminal")
PID_NAMESPACES = ("pid_namespace", "container")


def _shell_line(b: Bench, command: list[str]) -> list[str]:
    return ["bash", "-c", shlex.join(command)]


def _login_shell(b: Bench, command: list[str]) -> list[str]:
    return ["sh", "-c", f"cd {b.folder} && umask 022 && {shlex.join(command)}; exit $?"]


def _cron(b: Bench, command: list[str]) -> list[str]:
    """A session of its own, a bare environment, output to a log file."""
    line = f"{shlex.join(command)} >> {b.folder}/run/cron.log 2>&1"
    return [
        "setsid",
        "-w",
        "env",
        "-i",
        f"HOME={b.folder}",
        "LOGNAME=root",
        "SHELL=/bin/sh",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "/bin/sh",
        "-c",
        line,
    ]


def _container(b: Bench, command: list[str]) -> list[str]:
    """As a container has it: namespaces of pids, mounts, host name and IPC, with a /proc of its
    own, and an init."""
    line = f"{shlex.join(command)}; exit $?"
    return [
        "unshare",
        "--pid",
        "--fork",
        "--mount",
        "--uts",
        "--ipc",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        line,
    ]


def _words(*words: str) -> Wrapper:
    def wrap(b: Bench, command: list[str]) -> list[str]:
        if shutil.which(words[0]) is None:
            raise UnavailableError(f"{words[0]} is not installed")
        return [*words, *command]

    return wrap


def _python(b: Bench, command: list[str]) -> list[str]:
    path = b.folder / "bin" / f"{b.names.program()}.py"
    path.write_text(
        f"import subprocess, sys\nsys.exit(abs(subprocess.run({command!r}).returncode))\n"
    )
    return [sys.executable, "-S", str(path)]


def _cgroup(b: Bench, command: list[str]) -> list[str]:
    """A memory cgroup and a CPU cgroup with room."""
    groups = [
        b.lab.cgroup("memory", memory_limit_in_bytes=4 << 30),
        b.lab.cgroup("cpu", cpu_shares=1024),
    ]
    for group in groups:
        command = [*b.cgroup_words(group), *command]
    return command


def _lock(b: Bench, command: list[str]) -> list[str]:
    return ["flock", str(b.folder / "run" / f"{b.names.program()}.lock"), *command]


def _nested(b: Bench, command: list[str]) -> list[str]:
    return [
        "env",
        f"PYTHONPATH={ROOT}",
        sys.executable,
        "-m",
        "receiver",
        "run",
        "--quiet",
        "--",
        *command,
    ]


def _terminal(b: Bench, command: list[str]) -> list[str]:
    return ["script", "-qec", shlex.join(command), str(b.folder / "run" / "typescript")]


WRAPPERS: dict[str, Wrapper] = {
    "bash_c": _shell_line,
    "login_shell": _login_shell,
    "cron": _cron,
    "container": _container,
    "python_main": _python,
    "cgroup": _cgroup,
    "lock": _lock,
    "nested": _nested,
    "script": _terminal,
    "nice": _words("nice", "-n", "3"),
    "env": _words("env", "STAGE=prod"),
    "long_timeout": _words("timeout", "900"),
    "session": _words("setsid", "-w"),
    "mount_namespace": _words("unshare", "--mount"),
    "pid_namespace": _words("unshare", "--pid", "--fork"),
    "stdbuf": _words("stdbuf", "-oL"),
    "nohup": _words("nohup"),
    "scheduling": _words("chrt", "-b", "0"),
    "limits": _words("prlimit", "--core=0"),
}
WEIGHTS = {"nested": 0.3, "bash_c": 2.0, "container": 2.0, "cron": 1.5}


def wrapped(b: Bench, command: list[str]) -> list[str]:
    """The workload in all its wrappers; the first one is the outermost."""
    for name in reversed(b.composition.wrappers):
        command = WRAPPERS[name](b, command)
    return command
