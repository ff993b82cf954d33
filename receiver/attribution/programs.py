"""The words that name a process's program: its executable, and the script or module behind an
interpreter.
"""

from __future__ import annotations

import re

from receiver.work.worker import Worker

_INTERPRETERS = {"python", "pypy", "bash", "sh", "dash", "ruby", "perl", "env"}
_VERSION = re.compile(r"[\d.]+$")


def base(path: str) -> str:
    return path.rpartition("/")[2]


def program(path: str) -> str:
    """The name without a version: `/usr/bin/python3.11` is `python`."""
    name = base(path)
    return _VERSION.sub("", name) or name


def words(process: Worker) -> tuple[str, ...]:
    """The program words: `python -m dagster job` gives ("python", "dagster"), and `python
    /venv/bin/dbt run` gives ("python", "dbt").
    """
    own = program(process.executable) or process.comm
    argv = process.argv
    if own not in _INTERPRETERS:
        asked = program(argv[0]) if argv else own
        return (own,) if asked == own else (own, asked)
    for index, word in enumerate(argv[1:], 1):
        if word == "-m":
            module = argv[index + 1] if index + 1 < len(argv) else ""
            return (own, module.partition(".")[0])
        if word == "-c":
            return (own,)
        if not word.startswith("-"):
            return (own, base(word))
    return (own,)


def arguments_after(argv: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The arguments behind the word `name` (the last part of a path, or a module)."""
    for index, word in enumerate(argv):
        if base(word) == name or word.partition(".")[0] == name:
            return argv[index + 1 :]
    return ()


def option(arguments: tuple[str, ...], *names: str) -> str:
    """The value of `--name VALUE` or `--name=VALUE`; empty when it is absent."""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else arguments[index + 1] if index + 1 < len(arguments) else ""
    return ""


def positional(
    arguments: tuple[str, ...], takes_value: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The words that are neither options nor values of the options that take one."""
    out: list[str] = []
    skip = False
    for word in arguments:
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = word in takes_value
        else:
            out.append(word)
    return tuple(out)


def own_run(process: Worker) -> str:
    """A run id for work that has none: it identifies this process."""
    return f"{process.key.tgid}-{process.key.start_boottime_ns}"
