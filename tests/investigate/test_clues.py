"""Each clue of the cause cards has an id of its own, which is readable and is written once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import receiver.investigate
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import STRONG, context, contradicts, missing, supports
from receiver.investigate.report import EvidenceLine
from receiver.investigate.weights import WEIGHTS
from receiver.render.phrases import count_text
from tests.scenarios.test_incidents import RECORDINGS, report_of

PACKAGE = Path(receiver.investigate.__file__).parent
WEIGHED = {f.__name__ for f in (supports, contradicts, missing)}
MAKERS = {*WEIGHED, context.__name__}
PATTERN = re.compile(r"[a-z]+(\.[a-z_]+){2}")
# clues that belong to no family of causes: the place of a process among those that failed, its
# last failed call, its share of the run, a rival's trace, and the record itself
GENERAL = {"place", "last", "wait", "rival", "record"}


def made(text: str) -> Iterator[ast.Call]:
    """The calls that make evidence."""
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in MAKERS
        ):
            yield node


def clues(makers: Collection[str] = frozenset(MAKERS)) -> list[str]:
    """Every id as the package writes it."""
    every = [c for p in sorted(PACKAGE.rglob("*.py")) for c in made(p.read_text())]
    first = [c.args[0] for c in every if ast.unparse(c.func) in makers]
    assert [ast.unparse(a) for a in first if not isinstance(a, ast.Constant)] == []
    return [str(a.value) for a in first if isinstance(a, ast.Constant)]


def test_every_clue_has_one_id_that_is_written_once() -> None:
    found = Counter(clues())
    assert len(found) > 200
    assert [clue for clue, times in found.items() if times > 1] == []


def test_the_ids_name_a_family_a_subject_and_the_clue() -> None:
    families = {known.family for known in CLASSES.values()}
    wrong = [c for c in clues() if not PATTERN.fullmatch(c)]
    assert wrong == []
    assert {c.partition(".")[0] for c in clues()} <= families | GENERAL


def test_the_reports_name_the_clue_of_each_piece_of_evidence() -> None:
    known, seen = set(clues()), set()
    for path in RECORDINGS[::8]:
        for hypothesis in report_of(path)["hypotheses"]:
            seen |= {line["clue"] for line in hypothesis["weighed"]}
    assert len(seen) > 20
    assert seen <= known


def test_the_table_has_every_clue_with_a_weight_and_no_other() -> None:
    assert sorted(WEIGHTS) == sorted(set(clues(WEIGHED)))


def test_a_counted_weight_keeps_the_direction_of_the_written_one() -> None:
    grades = [(written, *row) for rows in WEIGHTS.values() for written, row in rows.items()]
    assert len(grades) > 60
    assert all(weight * written > 0 for written, weight, _, _ in grades)
    assert all(right + wrong > 0 for _, _, right, wrong in grades)


def test_the_counted_weight_is_the_one_that_is_used() -> None:
    clue, rows = max(WEIGHTS.items(), key=lambda item: max(map(sum, item[1].values()), default=0))
    written, (weight, right, wrong) = max(rows.items(), key=lambda item: item[1][1])
    make = supports if written > 0 else contradicts
    found = make(clue, abs(written), "It was so.", ())
    assert (found.weight, found.n) == (weight, right + wrong)
    line = EvidenceLine(found.role, found.weight, found.text, (), clue, found.n)
    assert count_text(line) == f"n={right + wrong}"


def test_a_clue_without_a_count_keeps_its_written_weight_and_says_so() -> None:
    found = supports("test.it.never_seen", STRONG, "It was so.", ())
    assert (found.weight, found.n) == (STRONG, 0)
    line = EvidenceLine(found.role, found.weight, found.text, (), found.clue, found.n)
    assert count_text(line) == "n=0, few"
    assert count_text(EvidenceLine("context", 0.0, "It was so.", (), "test.it.was_so")) == ""
