"""Writes docs/accuracy.md from a folder of results: `python -m
tests.incidents.report FOLDER [OUT]`."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from receiver.errors import DecodeError
from receiver.events import (
    Event,
    FileChanged,
    FileClosed,
    FileOpened,
    Neighbour,
    OomKill,
    OpenFile,
    ProcessSample,
    ThreadWait,
)
from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import OFFSET, SLOPE
from receiver.investigate.report import EXPLAINED, to_json
from receiver.kernel.decode import decode, split
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import FrameKind, Recording
from receiver.observe.replay import OF_HISTORY, replay_frame
from receiver.observe.session import Session
from receiver.service.state import HistoryStore
from receiver.text.redact import Redactor
from tests.incidents.generated.page import kept, put
from tests.incidents.lab import Result
from tests.incidents.score import Score, brier, macro, score, upper_bound, wilson
from tests.truth import told

OUT = Path(__file__).parent.parent.parent / "docs/accuracy.md"
Answer = Callable[[Result], str]
NOT_REACHED = {
    "fs.netfs": (
        "the kernel here has no NFS client; a wait for one looks like fs.slow_io and is reported "
        "as that"
    ),
    "hang.gc_stall": (
        "there is a rule, but no scene: from outside, a JVM that collects garbage looks like one "
        "that computes"
    ),
    "mem.host_oom": (
        "tested with constructed events only: we do not cause a host-wide OOM kill on a shared "
        "machine"
    ),
    "time.clock": "tested with constructed events only: we do not change the clock of this machine",
}


def load(folder: Path) -> list[Result]:
    """Each run with the report that the code of today gives on its recording."""
    out = []
    for path in sorted(folder.glob("*.json")):
        result, recording = (
            msgspec.json.decode(path.read_bytes(), type=Result),
            path.with_suffix(".kw"),
        )
        out.append(
            msgspec.structs.replace(result, report=again(recording, (), history=True))
            if recording.exists()
            else result
        )
    return out


# ── baselines: what can be said without us ────────────────────────────────────────────────────────

_CODES = {
    137: "mem.cgroup_oom",
    143: "kill.supervisor",
    139: "crash.segv",
    134: "crash.abort_ill",
    135: "mem.shm_full",
    132: "crash.abort_ill",
    141: "proc.sigpipe",
    127: "proc.interpreter",
    126: "proc.interpreter",
    124: "kill.timeout_orphan",
    52: "mem.app_heap",
    3: "mem.app_heap",
}
_LOG_WORDS = (
    ("No space left", "fs.enospc"),
    ("Permission denied", "fs.eacces"),
    ("Conflicting lock", "fs.lock"),
    ("database is locked", "fs.lock"),
    ("Too many open files", "lim.emfile"),
    ("MemoryError", "mem.rlimit"),
    ("Out of memory", "mem.cgroup_oom"),
    ("Killed", "mem.cgroup_oom"),
    ("Connection refused", "net.backlog_refused"),
    ("ECONNREFUSED", "net.backlog_refused"),
    ("timed out", "net.silent_peer"),
    ("Connection reset", "net.reset_short"),
    ("Temporary failure in name", "net.dns"),
    ("from pool", "net.pool"),
    ("too many clients", "net.pool"),
    ("Cannot assign requested", "net.ports"),
    ("Resource temporarily unavailable", "lim.pids"),
    ("command not found", "proc.interpreter"),
    ("Segmentation fault", "crash.segv"),
    ("Aborted", "crash.abort_ill"),
    ("validation failed", "none.not_visible"),
    ("Bus error", "mem.shm_full"),
)


def by_exit_code(result: Result) -> str:
    code = result.status if result.status >= 0 else 128 - result.status
    return _CODES.get(code, "none.healthy" if code == 0 else "none.not_visible")


def by_log(result: Result) -> str:
    found = next((cause for word, cause in _LOG_WORDS if word in result.log), "")
    return found or ("none.healthy" if result.status == 0 else "none.not_visible")


def by_sender(result: Result) -> str:
    """Whoever was running when the signal came did it."""
    for process in result.report["answers"]["how_each_ended"]:
        if "SIG" in process["end"] or "OOM" in process["end"]:
            return (
                "kill.supervisor"
                if process["by"] and "kernel" not in process["by"]
                else "mem.cgroup_neighbour"
                if "OOM" in process["end"]
                else "crash.segv"
            )
    return "none.healthy" if result.status == 0 else "none.not_visible"


def majority(results: Iterable[Result]) -> Answer:
    most = Counter(r.truth.cause for r in results if r.truth.verdict in EXPLAINED).most_common(1)[
        0
    ][0]
    return lambda r: most


def ours(result: Result) -> str:
    report = result.report
    return (
        report["hypotheses"][0]["cause"]
        if report["verdict"] in EXPLAINED
        else f"none.{report['verdict']}"
    )


def right(result: Result, answer: str) -> bool:
    return answer in (result.truth.cause, *result.truth.also_right)


# ── ablations: the same recordings with a part of the facts taken out ─────────────────────────────

ABLATIONS: dict[str, tuple[type[Event], ...]] = {
    "without earlier runs (no history)": (),
    "without OOM kill events": (OomKill,),
    "without file events": (FileOpened, FileClosed, FileChanged, OpenFile),
    "without samples over time": (ProcessSample, ThreadWait, Neighbour),
}


def again(
    recording: Path, without: tuple[type[Event], ...], *, history: bool = False
) -> dict[str, Any]:
    source = Recording(recording)
    core = Core(source.header.host, CoreOptions(only_commands=True))
    earlier = recording.with_suffix(".history")
    if history and earlier.exists():
        store = HistoryStore(earlier)
        core.history = store.load()
        store.close()
    session, redactor, last = Session(core), Redactor("off"), 0
    core.set_wall_offset(source.header.wall_offset_ns)
    for frame in source:
        last = max(last, frame.time_ns)
        if frame.kind == FrameKind.BATCH and without:
            kept = []
            for raw in split(frame.payload):
                try:
                    if not isinstance(decode(raw, redactor), without):
                        kept.append(raw)
                except DecodeError:
                    continue
            session.batch(kept, frame.time_ns)
        elif frame.kind not in OF_HISTORY:
            replay_frame(session, frame)
    session.finish(last)
    report: dict[str, Any] = json.loads(to_json(list(core.incidents.reports.values())[-1]))
    return report


# ── the page ──────────────────────────────────────────────────────────────────────────────────────


def share(good: int, of: int) -> str:
    low, high = wilson(good, of)
    return f"{good} of {of} ({good / of:.2f}; {low:.2f} to {high:.2f})" if of else "-"


def count(scores: Iterable[Score], name: str) -> tuple[int, int]:
    values = [getattr(s, name) for s in scores if getattr(s, name) is not None]
    return sum(bool(v) for v in values), len(values)


def fit(results: list[Result]) -> tuple[float, float]:
    """Slope and offset of a logistic curve from score to being right (incidents, first hypothesis),
    by gradient descent."""
    points = [
        (r.report["hypotheses"][0]["score"], float(score(r).right))
        for r in results
        if r.truth.verdict in EXPLAINED and r.report["hypotheses"]
    ]
    points += [
        (h["score"], 0.0)
        for r in results
        for h in r.report["hypotheses"][1:]
        if h["cause"] != r.truth.cause
    ]
    slope, offset = 0.5, -1.0
    for _ in range(20_000):
        errors = [(1 / (1 + math.exp(-(slope * x + offset))) - y, x) for x, y in points]
        slope -= 0.02 * (sum(e * x for e, x in errors) / len(errors) + 0.01 * slope)
        offset -= 0.02 * sum(e for e, _ in errors) / len(errors)
    return slope, offset


def page(results: list[Result], folder: Path, first_sight: str) -> str:
    incidents = [r for r in results if r.truth.verdict in EXPLAINED]
    healthy = [r for r in results if r.truth.verdict == "healthy"]
    absent = [r for r in results if r.truth.verdict == "not_visible"]
    pairs = [(r, score(r)) for r in incidents]
    alarms = sum(score(r).alarm for r in healthy)
    late = sorted(r.t_report for r in incidents if r.t_report)
    scenes, classes = len({r.scene for r in incidents}), len({r.truth.cause for r in incidents})
    counted = (
        f"{len(incidents)} incident runs of {scenes} scenes and {classes} classes, "
        f"{len(healthy)} healthy runs, "
    )
    counted += f"{len(absent)} runs whose cause the kernel does not see."
    lines = [
        "# Accuracy",
        "",
        (
            "Written by `make bench-incidents`. It breaks real processes, cgroups, sockets, "
            "mounts and namespaces on purpose, from outside of"
        ),
        (
            "the observed task (`tests/incidents`). It compares each report with the record of "
            "what was broken. Shares have Wilson's 95%"
        ),
        (
            "interval. A *scene* is one way to break a pipeline, and a *healthy run* is a run of a "
            "pipeline that is not broken."
        ),
        "",
        counted,
        "",
        (
            "*At 1* counts the first hypothesis of a report, *at 3* one of its first three. "
            "A *family* is the part of a class name before the dot."
        ),
        "",
        "| | K: kernel events prove the cause | P: they prove it in part | all |",
        "|---|---|---|---|",
    ]
    for label, name in (
        ("class and culprit at 1 (joint@1)", "joint_at_1"),
        ("class at 1", "class_at_1"),
        ("class at 3", "class_at_3"),
        ("family at 1", "family_at_1"),
        ("culprit at 1", "culprit_at_1"),
    ):
        cells = [
            share(*count([s for r, s in pairs if v in (r.visible, "all") or v == "all"], name))
            for v in ("K", "P", "all")
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    mean = macro((r.truth.cause, s.joint_at_1) for r, s in pairs)
    rivals = macro((r.truth.cause, s.rivals) for r, s in pairs)
    bound = upper_bound(alarms, len(healthy))
    lines += [
        "",
        (
            f"- joint@1, averaged over the classes: {mean:.2f}. Confusable classes that were ruled "
            f"out or ranked lower: {rivals:.2f}."
        ),
        f"- False alarms: {alarms} of {len(healthy)} healthy runs (upper 95% bound {bound:.1%}).",
        (
            "- Runs whose cause the kernel does not see, reported as not visible with a list of "
            f"what was normal: {share(sum(score(r).right for r in absent), len(absent))}."
        ),
        f"- Cited events that are not in the report: {sum(score(r).invented for r in results)}.",
        "- Brier score of the confidence of the first hypothesis: "
        f"{brier(s for _, s in pairs):.3f}. Curve in use: log-odds = {SLOPE} x score + {OFFSET}; "
        "fitted on these runs: {:.2f} x score + {:.2f}.".format(*fit(results)),
    ]
    if late:
        lines.append(
            "- Time from a signal to the written report of `kwitness run`: "
            f"median {late[len(late) // 2]:.1f} s, 95th percentile "
            f"{late[int(len(late) * 0.95)]:.1f} s "
            f"({len(late)} runs; if a run continues after the fault, the time until its end is "
            "included)."
        )
    lines += [
        "",
        first_sight,
        "",
        "## By class",
        "",
        "| class | runs | joint@1 | class@1 | reported instead |",
        "|---|---|---|---|---|",
    ]
    by: dict[str, list[tuple[Result, Score]]] = defaultdict(list)
    for r, s in pairs:
        by[r.truth.cause].append((r, s))
    for name, group in sorted(by.items()):
        wrong = Counter(ours(r) for r, s in group if not s.class_at_1)
        said = ", ".join(f"{c} ({n})" for c, n in wrong.most_common()) or ""
        lines.append(
            f"| {name} | {len(group)} | {sum(bool(s.joint_at_1) for _, s in group)} | "
            f"{sum(bool(s.class_at_1) for _, s in group)} | {said} |"
        )
    lines += [
        "",
        "## Compared with simpler methods",
        "",
        (
            "*class@1*: incident runs in which the first answer has the right class. "
            "*healthy* and *not visible*: such runs with the right answer."
        ),
        "",
        "| | class@1 | healthy | not visible |",
        "|---|---|---|---|",
    ]
    ways: dict[str, Answer] = {
        "kwitness": ours,
        "most frequent class": majority(results),
        "table of exit codes": by_exit_code,
        "error messages in the log": by_log,
        "the process that sent the signal": by_sender,
    }
    for label, answer in ways.items():
        cells = [
            share(sum(right(r, answer(r)) for r in part), len(part))
            for part in (incidents, healthy, absent)
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    lines += ["", *ablation_lines(results, folder), "", "## Classes that no scene reaches", ""]
    covered = {r.truth.cause for r in incidents}
    for name in sorted(CLASSES.keys() - covered):
        lines.append(f"- `{name}`: {NOT_REACHED.get(name, 'no scene yet')}.")
    missed = sorted(
        {(r.scene, r.variant, r.truth.cause, ours(r)) for r in results if not score(r).right}
    )
    lines += (
        ["", "Runs with a wrong report:", ""]
        + [f"- {s}-{v}: {c}, reported as {o}" for s, v, c, o in missed]
        if missed
        else []
    )
    return "\n".join(lines) + "\n"


def ablation_lines(results: list[Result], folder: Path) -> list[str]:
    lines = [
        "## With fewer facts",
        "",
        (
            "The recordings of the same incident runs are replayed without some of the facts; "
            "the last three also without history."
        ),
        "",
        "| | class@1 |",
        "|---|---|",
    ]
    kept = [
        (r, folder / f"{r.scene}-{r.variant}.kw") for r in results if r.truth.verdict in EXPLAINED
    ]
    kept = [(r, p) for r, p in kept if p.exists()]
    if not kept:
        return ["Recordings were not kept: no ablations."]
    whole = sum(right(r, ours(r)) for r, _ in kept)
    lines.append(f"| all facts | {share(whole, len(kept))} |")
    for label, without in ABLATIONS.items():
        good = sum(
            right(r, ours(msgspec.structs.replace(r, report=again(p, without)))) for r, p in kept
        )
        lines.append(f"| {label} | {share(good, len(kept))} |")
    return lines


def main(folder: Path, out: Path) -> None:
    unseen = Path(__file__).with_name("first_sight.md").read_text().strip()
    before = out.read_text() if out.exists() else ""
    now = put(page(load(folder), folder, unseen), kept(before))
    out.write_text(told.put(now, told.kept(before)))
    print(f"wrote {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
