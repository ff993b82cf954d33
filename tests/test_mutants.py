"""The list of faults for `make test-mutants` fits the code as it is now."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tools.mutant_list import MUTANTS, QUICK, Mutant
from tools.mutants import ROOT, misplaced


def test_each_of_the_sixty_snippets_occurs_once() -> None:
    assert misplaced() == []
    assert len({str(m) for m in MUTANTS}) == 60


def test_a_mutant_is_another_program_and_not_a_broken_one() -> None:
    for mutant in MUTANTS:
        text = mutant.place(ROOT).read_text()
        before, after = ast.parse(text), ast.parse(mutant.applied(text))
        assert ast.dump(before) != ast.dump(after), str(mutant)


def test_they_are_spread_over_the_rooms_and_their_tests_are_there() -> None:
    rooms = Counter(m.room for m in MUTANTS)
    assert set(rooms) == {"detect", "facts", "investigate", "render"} and min(rooms.values()) >= 8
    assert all((ROOT / test).exists() for test in QUICK)
    assert {m.hint for m in MUTANTS} <= set(QUICK)


@pytest.mark.parametrize("text", ["x = lasted<LIMIT", "x = (\n    lasted\n    < LIMIT\n)"])
def test_white_space_says_nothing(text: str) -> None:
    assert "lasted > LIMIT" in Mutant("", "lasted < LIMIT", "lasted > LIMIT", "").applied(text)


@pytest.mark.parametrize("text", ["", "lasted < LIMIT, lasted < LIMIT", "lasted < LIMITS"])
def test_a_snippet_that_is_not_there_once_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be once"):
        Mutant("", "lasted < LIMIT", "lasted > LIMIT", "").applied(text)
