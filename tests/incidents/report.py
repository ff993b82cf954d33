"""Writes docs/accuracy.md from a folder of results: `python -m
tests.incidents.report FOLDER [OUT]`."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from receiver.investigate.classes import CLASSES
from receiver.investigate.engine import OFFSET, SLOPE
from receiver.investigate.report import EXPLAINED
from tests.incidents.ablations import ablation_lines, again
from tests.incidents.baselines import Answer, by_exit_code, by_log, by_sender, majority, ours, right
from tests.incidents.generated.page import kept, put
from tests.incidents.results import Result
from tests.incidents.score import Score, brier, macro, score, share, upper_bound
from tests.truth import told

OUT = Path(__file__).parent.parent.parent / "docs/accuracy.md"


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


class Runs:
    """The results, by what happened in truth; `scored`: the incidents with their scores."""

    def __init__(self, results: list[Result]) -> None:
        self.all = results
        self.incidents = [r for r in results if r.truth.verdict in EXPLAINED]
        self.healthy = [r for r in results if r.truth.verdict == "healthy"]
        self.absent = [r for r in results if r.truth.verdict == "not_visible"]
        self.scored = [(r, score(r)) for r in self.incidents]


def head_lines(runs: Runs) -> list[str]:
    incidents = runs.incidents
    scenes, classes = len({r.scene for r in incidents}), len({r.truth.cause for r in incidents})
    counted = (
        f"{len(incidents)} incident runs of {scenes} scenes and {classes} classes, "
        f"{len(runs.healthy)} healthy runs, "
    )
    counted += f"{len(runs.absent)} runs whose cause the kernel does not see."
    return [
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


def share_lines(runs: Runs) -> list[str]:
    lines = []
    for label, name in (
        ("class and culprit at 1 (joint@1)", "joint_at_1"),
        ("class at 1", "class_at_1"),
        ("class at 3", "class_at_3"),
        ("family at 1", "family_at_1"),
        ("culprit at 1", "culprit_at_1"),
    ):
        cells = [
            share(*count([s for r, s in runs.scored if v in (r.visible, "all")], name))
            for v in ("K", "P", "all")
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def figure_lines(runs: Runs) -> list[str]:
    alarms = sum(score(r).alarm for r in runs.healthy)
    mean = macro((r.truth.cause, s.joint_at_1) for r, s in runs.scored)
    rivals = macro((r.truth.cause, s.rivals) for r, s in runs.scored)
    bound = upper_bound(alarms, len(runs.healthy))
    return [
        (
            f"- joint@1, averaged over the classes: {mean:.2f}. Confusable classes that were ruled "
            f"out or ranked lower: {rivals:.2f}."
        ),
        (
            f"- False alarms: {alarms} of {len(runs.healthy)} healthy runs "
            f"(upper 95% bound {bound:.1%})."
        ),
        (
            "- Runs whose cause the kernel does not see, reported as not visible with a list of "
            f"what was normal: {share(sum(score(r).right for r in runs.absent), len(runs.absent))}."
        ),
        f"- Cited events that are not in the report: {sum(score(r).invented for r in runs.all)}.",
        "- Brier score of the confidence of the first hypothesis: "
        f"{brier(s for _, s in runs.scored):.3f}. "
        f"Curve in use: log-odds = {SLOPE} x score + {OFFSET}; "
        "fitted on these runs: {:.2f} x score + {:.2f}.".format(*fit(runs.all)),
    ]


def delay_lines(runs: Runs) -> list[str]:
    late = sorted(r.t_report for r in runs.incidents if r.t_report)
    if not late:
        return []
    return [
        (
            "- Time from a signal to the written report of `kwitness run`: "
            f"median {late[len(late) // 2]:.1f} s, 95th percentile "
            f"{late[int(len(late) * 0.95)]:.1f} s "
            f"({len(late)} runs; if a run continues after the fault, the time until its end is "
            "included)."
        ),
    ]


def class_lines(runs: Runs) -> list[str]:
    lines = [
        "## By class",
        "",
        "| class | runs | joint@1 | class@1 | reported instead |",
        "|---|---|---|---|---|",
    ]
    by: dict[str, list[tuple[Result, Score]]] = defaultdict(list)
    for r, s in runs.scored:
        by[r.truth.cause].append((r, s))
    for name, group in sorted(by.items()):
        wrong = Counter(ours(r) for r, s in group if not s.class_at_1)
        said = ", ".join(f"{c} ({n})" for c, n in wrong.most_common()) or ""
        lines.append(
            f"| {name} | {len(group)} | {sum(bool(s.joint_at_1) for _, s in group)} | "
            f"{sum(bool(s.class_at_1) for _, s in group)} | {said} |"
        )
    return lines


def comparison_lines(runs: Runs) -> list[str]:
    lines = [
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
        "most frequent class": majority(runs.all),
        "table of exit codes": by_exit_code,
        "error messages in the log": by_log,
        "the process that sent the signal": by_sender,
    }
    for label, answer in ways.items():
        cells = [
            share(sum(right(r, answer(r)) for r in part), len(part))
            for part in (runs.incidents, runs.healthy, runs.absent)
        ]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def gap_lines(runs: Runs) -> list[str]:
    """The classes that no scene reaches, and the runs with a wrong report."""
    lines = ["## Classes that no scene reaches", ""]
    covered = {r.truth.cause for r in runs.incidents}
    for name in sorted(CLASSES.keys() - covered):
        lines.append(f"- `{name}`: {NOT_REACHED.get(name, 'no scene yet')}.")
    missed = sorted(
        {(r.scene, r.variant, r.truth.cause, ours(r)) for r in runs.all if not score(r).right}
    )
    lines += (
        ["", "Runs with a wrong report:", ""]
        + [f"- {s}-{v}: {c}, reported as {o}" for s, v, c, o in missed]
        if missed
        else []
    )
    return lines


def page(results: list[Result], folder: Path, first_sight: str) -> str:
    runs = Runs(results)
    lines = [*head_lines(runs), *share_lines(runs), "", *figure_lines(runs), *delay_lines(runs)]
    for section in (
        [first_sight],
        class_lines(runs),
        comparison_lines(runs),
        ablation_lines(results, folder),
        gap_lines(runs),
    ):
        lines += ["", *section]
    return "\n".join(lines) + "\n"


def main(folder: Path, out: Path) -> None:
    unseen = Path(__file__).with_name("first_sight.md").read_text().strip()
    before = out.read_text() if out.exists() else ""
    now = put(page(load(folder), folder, unseen), kept(before))
    out.write_text(told.put(now, told.kept(before)))
    print(f"wrote {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else OUT)
