"""Secrets in command lines: a corpus with planted ones, and one without any."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from receiver.text.printable import joined
from receiver.text.redact import Mode, Redactor
from tests.corpus import ORDINARY_LINES, SETS, Shape, ordinary, ordinary_written, secrets
from tests.redact.lines import planted


def test_the_corpora_are_large_enough() -> None:
    assert len(planted()) >= 290
    halves = Counter(shape.judged for shape in secrets())
    assert len(set(secrets())) == halves.total() >= 800 and min(halves.values()) >= 400
    assert {shape.kind for shape in secrets()} == {"argv", "path", "title", "error", "env"}
    assert len(ordinary()) == ORDINARY_LINES == 2000


@pytest.mark.parametrize(
    ("number", "shapes", "lines"),
    [(2, 900, 1200), (3, 500, 2400), (4, 400, 1600), (5, 300, 2500), (6, 260, 0)],
)
def test_the_later_sets_are_large_enough_and_their_secrets_are_in_them(
    number: int, shapes: int, lines: int
) -> None:
    halves = Counter(shape.judged for shape in secrets(number))
    assert halves.total() >= shapes and min(halves.values()) >= 100
    assert not lines or len(set(ordinary_written(number))) >= lines
    for shape in secrets(number):
        assert shape.secrets and all(value in "\0".join(shape.plain()) for value in shape.secrets)


@pytest.mark.parametrize("number", SETS)
@pytest.mark.parametrize("judged", [False, True], ids=["development", "judged"])
def test_99_of_100_secrets_are_caught(number: int, judged: bool) -> None:
    half = [shape for shape in secrets(number) if shape.judged == judged]
    leaks = [shape.text for shape in half if shape.leaks(Redactor())]
    assert len(leaks) <= len(half) / 100, leaks


@pytest.mark.parametrize("kind", ["path", "title", "error", "env"])
def test_no_secret_of_the_corpus_survives_outside_of_command_lines(kind: str) -> None:
    assert [
        shape.text for shape in secrets() if shape.kind == kind and shape.leaks(Redactor())
    ] == []


def test_ordinary_lines_are_left_alone() -> None:
    """One redactor for all of them: what it has learnt must not change what it says."""
    redactor = Redactor()
    changed = [shape.text for shape in ordinary() if shape.read(redactor) != shape.plain()]
    assert len(changed) <= ORDINARY_LINES / 100, changed


@pytest.mark.parametrize("number", SETS[1:5])
def test_the_ordinary_lines_of_later_sets_are_left_alone(number: int) -> None:
    redactor, lines = Redactor(), ordinary_written(number)
    changed = [shape.text for shape in lines if shape.read(redactor) != shape.plain()]
    assert len(changed) <= len(lines) / 100, changed


def test_what_was_learnt_changes_nothing() -> None:
    """Caches and learnt words give the same text as a new redactor, and count the same."""
    old = Redactor()
    shapes = (*secrets(), *ordinary()[:500])
    for _ in range(2):
        for shape in shapes:
            new, before = Redactor(), old.counts.copy()
            assert shape.read(old) == shape.read(new)
            assert old.counts - before == new.counts


def test_the_corpus_is_redacted_idempotently() -> None:
    for shape in itertools.chain.from_iterable(map(secrets, SETS)):
        once = shape.read(Redactor())
        again = Redactor()
        twice = (
            again.argv(joined(once))
            if shape.kind == "argv"
            else Shape(shape.kind, once[0]).read(again)
        )
        assert twice == once and not again.counts


@pytest.mark.parametrize("mode", ["scrub", "strip"])
def test_no_planted_secret_survives(mode: Mode) -> None:
    leaks = [
        argv for argv, secret in planted() if secret in " ".join(Redactor(mode).argv(joined(argv)))
    ]
    assert leaks == []
