"""The sixty faults, and the tests that should notice them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ENGINE, ROOTS = "tests/investigate/test_engine.py", "tests/investigate/test_roots.py"
RIVALS, WAITS = "tests/investigate/test_rivals.py", "tests/investigate/test_cpu_waits.py"
ANSWERS, AGES = "tests/investigate/test_answers.py", "tests/investigate/test_time_limits.py"
DEGRADED = "tests/investigate/test_degraded.py"
CITATIONS = "tests/investigate/test_citations.py"
SEVERITIES, LOOKS = "tests/test_exit_severity.py", "tests/test_usage.py"
CORE, ACTIVITY, LINEAGE = "tests/core", "tests/facts", "tests/lineage"
SHOW, SCREENS = "tests/test_show.py", "tests/scenarios/test_screens.py"
GOLDENS, INCIDENTS = "tests/scenarios/test_goldens.py", "tests/scenarios/test_incidents.py"
PROOF = "tests/attribution"
QUICK = (
    SEVERITIES,
    LOOKS,
    LINEAGE,
    SHOW,
    RIVALS,
    WAITS,
    ANSWERS,
    AGES,
    DEGRADED,
    ROOTS,
    SCREENS,
    GOLDENS,
    ACTIVITY,
    PROOF,
    CORE,
    INCIDENTS,
    ENGINE,
    CITATIONS,
    "tests/investigate/test_lost_events.py",
    "tests/investigate/test_torn_files.py",
    "tests/investigate/test_masked_failures.py",
    "tests/investigate/test_other_runs.py",
    "tests/investigate/test_incidents.py",
    "tests/investigate/test_cards.py",
    "tests/investigate/test_history.py",
)
# These cost much and say little about a mutant.
SLOW = (
    f"{CORE}/test_tables.py::test_metrics_have_bounded_labels",
    f"{CITATIONS}::test_reports_on_recordings_cite_nothing_that_was_not_seen",
    f"{CITATIONS}::test_reports_on_damaged_recordings_cite_nothing_that_was_not_seen",
    f"{CITATIONS}::test_a_case_is_bounded",
)
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Mutant:
    """`old` occurs once in the files of `room`, a folder of receiver/;
    `hint` is the test file that should notice it."""

    room: str
    old: str
    new: str
    hint: str

    def __str__(self) -> str:
        return f"{self.room}: {self.old}  ->  {self.new}"

    def pattern(self) -> re.Pattern[str]:
        """The tokens of the snippet with any white space between them, not in the middle of a
        longer name."""
        tokens = [re.escape(token) for token in _TOKEN.findall(self.old)]
        before = r"(?<!\w)" if tokens[0].isalnum() else ""
        return re.compile(before + r"\s*".join(tokens) + r"(?!\w)")

    def applied(self, text: str) -> str:
        """The text with the fault in it. Raises ValueError when the snippet does not
        occur exactly once."""
        found = list(self.pattern().finditer(text))
        if len(found) != 1:
            raise ValueError(f"{self.room}: {len(found)} times `{self.old}`, must be once")
        return text[: found[0].start()] + self.new + text[found[0].end() :]

    def place(self, root: Path) -> Path:
        """The file that holds the snippet. Raises ValueError when the room does not hold
        it exactly once."""
        files = sorted((root / "receiver" / self.room).rglob("*.py"))
        found = [(f, len(self.pattern().findall(f.read_text()))) for f in files]
        times = sum(n for _, n in found)
        if times != 1:
            raise ValueError(f"{self.room}: {times} times `{self.old}`, must be once")
        return next(f for f, n in found if n)


def _of(room: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    return [Mutant(room, *row) for row in rows]


MUTANTS: tuple[Mutant, ...] = (
    *_of(
        "detect",
        ("_NEAR_SECONDS = 30.0", "_NEAR_SECONDS = 300.0", ACTIVITY),
        ("_FULL_SHARE = 0.5", "_FULL_SHARE = 0.05", ACTIVITY),
    ),
    *_of(
        "detect",
        ("_IDLE_NS = 2_000_000_000", "_IDLE_NS = 1", SEVERITIES),
        ("s.signal in POLITE and s is not event", "s.signal in POLITE", SEVERITIES),
        (
            "c.exit_severity >= ExitSeverity.FAILED",
            "c.exit_severity > ExitSeverity.FAILED",
            SEVERITIES,
        ),
        (
            "culprit.exit_severity >= ExitSeverity.FAILED",
            "culprit.exit_severity > ExitSeverity.FAILED",
            CORE,
        ),
    ),
    *_of(
        "detect",
        (
            ".get((writer.task, writer.map_index)) is False",
            ".get((writer.task, writer.map_index)) is not None",
            LINEAGE,
        ),
        ("version.writer not in process.ancestors()", "version.writers", LINEAGE),
    ),
    *_of(
        "detect",
        ("lasted < _ABANDONED_NS", "lasted > _ABANDONED_NS", ACTIVITY),
        ("fact.queued <= fact.backlog", "fact.queued < fact.backlog", ACTIVITY),
        ("link.owed_since_ns or fact.unread_bytes", "True", ACTIVITY),
    ),
    *_of(
        "detect",
        ("others[-1] if others", "others[0] if others", SEVERITIES),
        ("event.code > 0 or event.code == SI_TIMER", "event.code > 0", SEVERITIES),
    ),
    *_of("detect", ("event.position_bytes == 0", "event.position_bytes != 0", CORE)),
    *_of(
        "detect",
        (
            "event.last_boottime_ns < process.exec_ns",
            "event.last_boottime_ns > process.exec_ns",
            LINEAGE,
        ),
    ),
    *_of(
        "facts",
        ("running), 0.3", "running), 0.75", LOOKS),
        ("interval // 500", "interval // 5", LOOKS),
        ("looks >= LOOKS", "looks > LOOKS", LOOKS),
        ("period.ns > (self.idle_period", "period.ns < (self.idle_period", LOOKS),
        ("value - (1 << 64) if", "value if", LOOKS),
        ("0.95 * sample.memory_limit_bytes", "0.05 * sample.memory_limit_bytes", LOOKS),
    ),
    *_of(
        "facts",
        ("fresh and not version.writers", "fresh", LINEAGE),
        ("use.read_bytes += event.read_bytes", "use.read_bytes = event.read_bytes", LINEAGE),
    ),
    *_of(
        "facts",
        (
            "fact.last_send_boottime_ns > fact.last_receive_boottime_ns",
            "fact.last_send_boottime_ns < fact.last_receive_boottime_ns",
            ACTIVITY,
        ),
        ("max(peer.most, peer.open)", "peer.open", ACTIVITY),
        ("peer = (peer[0], 0)", "peer = (peer[0], 1)", ACTIVITY),
    ),
    *_of("facts", ("self.linger_ns > now_ns", "self.linger_ns < now_ns", CORE)),
    *_of("facts", ("before_uid != 0", "before_uid == 0", PROOF)),
    *_of(
        "investigate",
        ("LATER_NS = 1_500_000_000", "LATER_NS = 150_000_000_000", ENGINE),
        ("and last.local_port == peer.endpoint[1]", "", ROOTS),
        ("if pair.one is not pair.other: return None", "", ROOTS),
        ("cause.at_ns <= effect.at_ns + slack", "True", ROOTS),
        ("return self._log_odds(self.nodes[number].score) >= 0", "return True", ENGINE),
        ("and not each.gave_up and not graph.meets_a_deadline(number)", "and False", WAITS),
        ("min(against, key=lambda e: e.weight", "max(against, key=lambda e: e.weight", RIVALS),
        ("SLOPE, OFFSET = 0.9, -3.2", "SLOPE, OFFSET = 0.6, -2.2", SCREENS),
        ("if mine & theirs:", "if True:", ROOTS),
        ("if graph.is_likely(n) and _meet(case, graph, n, facet)", "if False", DEGRADED),
        ("_LOSS_CEILING = 0.75", "_LOSS_CEILING = 0.99", RIVALS),
    ),
    *_of(
        "investigate",
        ("return self._origin in self.covers(number)", "return True", RIVALS),
        ("return sender in above or", "return False or", ROOTS),
    ),
    *_of("investigate", ("ENOUGH = 5", "ENOUGH = 1", RIVALS)),
    *_of("investigate", ("_EARLY, _LATE = 0.02, 0.25", "_EARLY, _LATE = 0.02, 2.5", AGES)),
    *_of(
        "investigate",
        ("if used < _NEAR * limit", "if used >= _NEAR * limit", RIVALS),
        ("if share < 0.5:", "if share > 0.5:", RIVALS),
    ),
    *_of(
        "investigate",
        ("SILENT_NS = 3 * SECOND", "SILENT_NS = 30 * SECOND", ANSWERS),
        (
            "reset = sample.error in (errno.ECONNRESET, errno.EPIPE)",
            "reset = sample.error in (errno.EPIPE,)",
            ANSWERS,
        ),
    ),
    *_of("investigate", ("lasted < 4 * SECOND", "lasted < 40 * SECOND", RIVALS)),
    *_of(
        "investigate",
        (
            "share > _SHARE and (lasted >= SLOW_NS or actor.failed)",
            "lasted >= SLOW_NS or actor.failed",
            WAITS,
        ),
    ),
    *_of(
        "investigate",
        ("_lived_ns(actor) < 20_000_000", "_lived_ns(actor) < 2_000_000_000", RIVALS),
    ),
    *_of("investigate", ("use.read_bytes >= whole", "use.read_bytes > whole", RIVALS)),
    *_of(
        "render",
        ("round(at / end", "round(0 / end", SCREENS),
        ("v * 8 // max", "v // max", SCREENS),
    ),
    *_of(
        "render",
        ("autoescape=True", "autoescape=False", SCREENS),
        ("(m.at - first) / span", "(m.at - first) * span", SCREENS),
        ("_HEIGHT - held / top", "held / top", SCREENS),
    ),
    *_of(
        "render",
        ("row.seconds < DULL_SECONDS", "row.seconds > DULL_SECONDS", SCREENS),
        ("number == last else", "number > last else", SCREENS),
    ),
    *_of("render", ("row.most_at_once > 1", "row.most_at_once > 10", SHOW)),
    *_of("render", ("* 1.1", "* 11", SHOW)),
)
