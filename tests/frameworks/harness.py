"""Runs a real framework under a live kwitness, and compares what kwitness says with what the
framework and its processes say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.conftest import missing

HERE = Path(__file__).parent
PIPELINES = HERE / "pipelines"
Facts = dict[str, Any]
_NOT_HEALTHY = {"WARN", "ERROR", "FATAL"}


def environment(name: str) -> Path:
    """Of tools/frameworks.sh; skips (or fails, where it is required) when it was not installed."""
    cache = Path(
        os.environ.get("KWITNESS_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kwitness"
    )
    found = [p for p in (cache / "frameworks").glob(f"{name}-*") if (p / ".installed").exists()]
    if not found:
        missing("frameworks", f"{name} is not installed (tools/frameworks.sh {name})")
    return max(found, key=lambda p: p.stat().st_mtime)


class Report:
    """What `kwitness run --report` wrote."""

    def __init__(self, facts: Facts, why: Facts) -> None:
        self.facts = facts
        self.why = why  # what the investigation came to
        self.work = {w["span_id"]: w for w in facts["work"]}
        self.processes = {p["pid"]: p for p in facts["processes"]}

    def chain(self, pid: int) -> list[Facts]:
        """Whose work a process did, innermost first; empty for a process that it does not know."""
        found = self.processes.get(pid)
        return [self.work[s] for s in found["work"] if s in self.work] if found else []

    def of(self, system: str, kind: str = "") -> list[Facts]:
        found = [
            w
            for w in self.facts["work"]
            if w["system"] == system and (not kind or w["type"] == kind)
        ]
        return sorted(found, key=lambda w: w["started"])

    def alarms(self, system: str = "") -> list[str]:
        """Findings of WARN and above; with a system, those about processes that do its work (and
        not its services, which the driver of a test ends by signals)."""
        lead = (
            [f"{self.why['hypotheses'][0]['cause']}: {self.why['summary']}"]
            if self.why["verdict"] == "incident" and not system
            else []
        )
        return lead + [
            f"{f['severity']} {f['kind']}: {f['sentence']}"
            for f in self.facts["findings"]
            if f["severity"] in _NOT_HEALTHY
            and (not system or any(w["system"] == system for w in self.chain(f["pid"])))
        ]


class Bench:
    """One framework's environment, a place to work in, and kwitness around its commands."""

    def __init__(self, name: str, work: Path, folder: str) -> None:
        self.venv = environment(name)
        self.work = work
        self.folder = work / "pipeline"
        shutil.copytree(PIPELINES / folder, self.folder)
        self.truth_file = work / "truth"
        self.truth_file.touch()
        (work / "home").mkdir()
        (work / "data").mkdir()
        self.data = work / "data"
        self.env = {
            "PATH": f"{self.venv}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(work / "home"),
            "VIRTUAL_ENV": str(self.venv),
            "TRUTH": str(self.truth_file),
            "TRUTH_DIR": str(PIPELINES),
            "PIPE_WORK": str(self.data),
            "LANG": "C.UTF-8",
        }
        self.output = ""

    def run(
        self, *command: str, status: int | None = 0, timeout: float = 900, **env: str
    ) -> Report:
        """Runs it under kwitness to its end. `status` None: any."""
        report, why = self.work / "report.json", self.work / "why.json"
        full = [
            sys.executable,
            "-m",
            "receiver",
            "run",
            "--quiet",
            "--facts",
            str(report),
            "--report",
            str(why),
            "--",
            *command,
        ]
        record = os.environ.get("KWITNESS_RECORD")
        if record:
            full[3:4] = ["record", "--whole-host", "-o", record]
        done = subprocess.run(
            full,
            cwd=self.folder,
            env=self.env | {"PYTHONPATH": str(HERE.parent.parent)} | env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        self.output = done.stdout[-4000:] + done.stderr[-4000:]
        assert status is None or done.returncode == status, self.output
        found = Report(json.loads(report.read_text()), json.loads(why.read_text()))
        lost = [
            entry
            for entry in found.facts["completeness"]["lost"]
            if entry["reason"] != "file_limit"
        ]  # that can be a stranger's
        assert not lost, lost
        return found

    def truth(self) -> list[Facts]:
        return [json.loads(line) for line in self.truth_file.read_text().splitlines()]


class Figures(msgspec.Struct):
    """How one framework's mapping came out."""

    framework: str
    how: str  # which runs
    stated: int = 0  # processes that said whose they were
    found: int = 0  # … and that kwitness says the same of
    unknown: list[str] = msgspec.field(default_factory=list)
    wrong: list[str] = msgspec.field(
        default_factory=list
    )  # … another of the same kind, surely or probably
    work_recorded: int = 0  # pieces of work in the framework's own records
    work_found: int = 0
    work_extra: list[str] = msgspec.field(default_factory=list)
    outcomes_known: int = 0
    outcomes_agreed: int = 0
    outcomes_differ: list[str] = msgspec.field(default_factory=list)
    grades: dict[str, int] = msgspec.field(default_factory=dict)
    note: str = ""

    def processes(
        self,
        report: Report,
        truth: Iterable[Facts],
        system: str,
        expected: Mapping[str, str],
        kind: str = "task",
    ) -> None:
        """`expected`: names of truth's fields by those of the work that they stand for.
        Fields that a line lacks are not asked."""
        for line in truth:
            wanted = {ours: line[theirs] for ours, theirs in expected.items() if theirs in line}
            self.stated += 1
            chain = [
                w for w in report.chain(line["pid"]) if w["system"] == system and w["type"] == kind
            ]
            if any(all(w[k] == v for k, v in wanted.items()) for w in chain):
                self.found += 1
                best = max(
                    chain,
                    key=lambda w: ("ambiguous", "partial", "probable", "certain").index(w["grade"]),
                )
                self.grades[best["grade"]] = self.grades.get(best["grade"], 0) + 1
            elif any(w["grade"] in ("certain", "probable") for w in chain):
                self.wrong.append(
                    f"{line} was said to be {[{k: w[k] for k in wanted} for w in chain]}"
                )
            else:
                known = line["pid"] in report.processes
                self.unknown.append(f"{line} {'was given to nobody' if known else 'is not known'}")

    def records(
        self, recorded: Mapping[tuple[Any, ...], str], found: Mapping[tuple[Any, ...], str]
    ) -> None:
        """Pieces of work by their names, with their outcomes ("" when not known)."""
        self.work_recorded += len(recorded)
        self.work_found += len(recorded.keys() & found.keys())
        self.work_extra += [str(k) for k in found.keys() - recorded.keys()]
        self.unknown += [f"work {k}" for k in recorded.keys() - found.keys()]
        for key in recorded.keys() & found.keys():
            if recorded[key] and found[key] not in ("", "unknown"):
                self.outcomes_known += 1
                self.outcomes_agreed += recorded[key] == found[key]
                if recorded[key] != found[key]:
                    self.outcomes_differ.append(
                        f"{key}: recorded {recorded[key]}, kernel {found[key]}"
                    )

    def save(self) -> None:
        """For docs/mapping.md, where `make test-frameworks` asks for it."""
        if folder := os.environ.get("KWITNESS_MAPPING"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            name = f"{self.framework}-{self.how}".replace(" ", "_").replace("/", "_")
            (Path(folder) / f"{name}.json").write_bytes(
                msgspec.json.format(msgspec.json.encode(self))
            )

    def check(self) -> None:
        """The target of the design: at least 99% of the processes, and nobody surely in
        the wrong place."""
        self.save()
        assert not self.wrong, self.wrong
        assert self.stated or self.work_recorded
        assert self.found >= 0.99 * self.stated, self.unknown
        assert self.work_found == self.work_recorded, self.unknown


def by_name(work: Iterable[Facts], *fields: str) -> dict[tuple[Any, ...], str]:
    return {tuple(w[f] for f in fields): w["outcome"] for w in work}


def healthy_runs() -> Iterator[int]:
    """As many as KWITNESS_HEALTHY_RUNS says; 20 for the proof, fewer for a quick look."""
    yield from range(int(os.environ.get("KWITNESS_HEALTHY_RUNS", "2")))


def note_healthy(what: str) -> None:
    """All of its runs raised no alarm: for docs/mapping.md."""
    if folder := os.environ.get("KWITNESS_MAPPING"):
        path = Path(folder) / "healthy.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known | {what: len(list(healthy_runs()))}))
