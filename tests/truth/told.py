"""What the witnesses said of each run: lines of JSON, and their section of docs/accuracy.md."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from tests.truth.check import Verdicts

_BEGIN, _END = "<!-- second witness: begin -->", "<!-- second witness: end -->"


class Told(msgspec.Struct, kw_only=True):
    """One run. `healthy`: it was composed without a fault; the report was not asked."""

    name: str
    healthy: bool
    verdict: str
    true: int
    false: list[str]
    undecided: list[str]


def told(name: str, healthy: bool, verdict: str, verdicts: Verdicts) -> Told:
    return Told(
        name=name,
        healthy=healthy,
        verdict=verdict,
        true=verdicts.true,
        false=verdicts.false,
        undecided=verdicts.undecided,
    )


def save(path: Path, run: Told) -> None:
    """Two programs may write to the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(msgspec.json.encode(run) + b"\n")


def saved(paths: Iterable[Path]) -> list[Told]:
    return [
        msgspec.json.decode(line, type=Told)
        for path in paths
        for line in path.read_bytes().splitlines()
    ]


def count(runs: Sequence[Told]) -> str:
    healthy = [run for run in runs if run.healthy]
    alarms = sum(run.verdict == "incident" for run in healthy)
    return (
        f"{len(runs)} runs, {len(healthy)} of them healthy ({alarms} reported as incidents): "
        f"{sum(run.true for run in runs)} claims true, "
        f"{sum(len(run.false) for run in runs)} false; "
        f"{sum(len(run.undecided) for run in runs)} sentences undecided"
    )


def kind(sentence: str) -> str:
    """The sentence without its names and numbers."""
    text = re.sub(r"(?:^|(?<=[\s(]))(?:/|[a-z]+:/)\S*", "F", sentence)
    text = re.sub(r"\S+ \(\d+\)", "P", text)
    text = re.sub(r"\d+\.\d+\.\d+\.\d+(?::\d+)?", "ENDPOINT", text)
    return re.sub(r"\d+(?:\.\d+)?", "N", text)


def section(runs: Sequence[Told], day: str) -> str:
    return f"""{_BEGIN}
## Second witness

Written by `python -m tests.truth --page`. Each command runs under kwitness and under strace(1),
while files of /proc and of the cgroups are read every 20 ms. These witnesses share no code with
kwitness. They decide each claim of the report that has a form they know (`tests/truth/claims`):
numbers, ends, signals, bytes, limits, durations, and denials. A sentence without such a form is
*undecided*. A *healthy* run was composed without a fault. Half of them or more are lines of
`tests/truth/healthy.txt`. Two lines were taken out of it because they were told as incidents, and
the kernel cannot show otherwise: a shell handled the failure of a command by itself, for example in
`timeout 0.5 sleep 9; test $? = 124`, and started no other program after it.

Measured on {day}: {count(runs)}.
{_END}"""


def kept(page: str) -> str:
    """The section of a page; nothing if it has none."""
    begin, end = page.find(_BEGIN), page.find(_END)
    return page[begin : end + len(_END)] if 0 <= begin < end else ""


def put(page: str, text: str) -> str:
    """The page with this section in front of the laboratory's, instead of the one that it has."""
    if not text:
        return page
    old = kept(page)
    return (
        page.replace(old, text)
        if old
        else page.replace("## Laboratory", f"{text}\n\n## Laboratory", 1)
    )
