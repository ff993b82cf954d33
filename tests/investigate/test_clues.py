"""Each clue of the cause cards has an id of its own, which is readable and is written once."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import receiver.investigate
from receiver.investigate.classes import CLASSES
from receiver.investigate.evidence import context, contradicts, missing, supports
from tests.scenarios.test_incidents import RECORDINGS, report_of

PACKAGE = Path(receiver.investigate.__file__).parent
MAKERS = {f.__name__ for f in (supports, contradicts, missing, context)}
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


def clues() -> list[str]:
    """Every id as the package writes it; `through` passes on the id of another clue."""
    first = [c.args[0] for p in sorted(PACKAGE.rglob("*.py")) for c in made(p.read_text())]
    out = [a.value for a in first if isinstance(a, ast.Constant)]
    passed_on = [ast.unparse(a) for a in first if not isinstance(a, ast.Constant)]
    assert passed_on == ["each.clue"]
    return [str(each) for each in out]


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
