"""The order of the phases of an exit is a part of the result.

Each rule of the table of phases is broken once, and must be missed. Phases without a rule between
them are independent: they give the same results in any order.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from receiver.export import encode
from receiver.investigate.report import to_json
from receiver.model import NOBODY, CoreOptions
from receiver.observe import exits
from receiver.observe.core import Core
from receiver.observe.exits import PHASES, Phase
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.render.process_tree import summary
from receiver.render.rows import Views
from receiver.signals import LogRecord, Span
from receiver.work.execution import Execution
from tests.builders import Calls, Story

SCENARIOS = Path(__file__).parent / "scenarios"
RECORDINGS = sorted(SCENARIOS.rglob("*.kw"))
OPTIONS = CoreOptions(exit_events=True)
BY_NAME = {phase.name: phase for phase in PHASES}
RULES = [(first, phase.name) for phase in PHASES for first in phase.after]


class Observed:
    """A core with the listeners that `kwitness run` has."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.views = Views(core.facts)
        self.screens: list[str] = []
        core.listeners.add(
            Calls(process_ended=self.views.process_ended, execution_finished=self.closed)
        )

    def closed(self, execution: Execution) -> None:
        self.views.closed(execution)
        if execution.outer is None:
            view = self.views.pop(execution)
            self.screens.append(summary(execution, view, {}, colour=False))

    def results(self, signals: Iterable[Span | LogRecord]) -> list[object]:
        """All that leaves the core, in order, and what it still keeps of ended processes."""
        core = self.core
        sent = [
            (s.resource.items, encode.log_record(s) if isinstance(s, LogRecord) else encode.span(s))
            for s in signals
        ]
        reports = [to_json(report) for report in core.incidents.reports.values()]
        metrics = sorted(repr(metric) for metric in core.metrics())
        kept = sorted(key.tgid for key in core.resources._processes)
        return [*sent, *metrics, *reports, *self.screens, kept]


def replayed(path: Path) -> list[object]:
    recording = Recording(path)
    observed = Observed(Core(recording.header.host, OPTIONS))
    replay(Session(observed.core), recording)
    return observed.results(observed.core.take())


def hidden_failure_of_dbt() -> list[object]:
    """dbt succeeds although a child of it was killed while a model was open."""
    story = Story(OPTIONS)
    observed = Observed(story.core)
    dbt = story.spawn(NOBODY, "dbt", "run")
    story.opens(dbt, "/work/target/run/shop/models/users.sql", os.O_WRONLY, thread=41)
    story.exit(story.spawn(dbt, "python3", "load.py"), signal=9)
    story.exit(dbt)
    story.finish()
    return observed.results(story.signals)


CORPUS: tuple[Callable[[], list[object]], ...] = (
    hidden_failure_of_dbt,
    *(lambda path=path: replayed(path) for path in RECORDINGS),
)


@cache
def expected(number: int) -> list[object]:
    return CORPUS[number]()


def is_noticed(order: tuple[Phase, ...], monkeypatch: pytest.MonkeyPatch, every: int = 1) -> bool:
    """Whether some recording or story has other results in this order."""
    for number in range(0, len(CORPUS), every):
        wanted = expected(number)
        with monkeypatch.context() as patch:
            patch.setattr(exits, "PHASES", order)
            if CORPUS[number]() != wanted:
                return True
    return False


def needs(name: str) -> set[str]:
    """All phases that a phase needs, also through others."""
    found: set[str] = set()
    for other in BY_NAME[name].after:
        found |= {other} | needs(other)
    return found


def breaking(first: str, second: str) -> tuple[Phase, ...]:
    """An order that obeys every rule but one: `second` comes right before `first`."""
    before = [p for p in PHASES if p.name in needs(first) | needs(second) - {first}]
    rest = [p for p in PHASES if p not in before and p.name not in (first, second)]
    return (*before, BY_NAME[second], BY_NAME[first], *rest)


def any_order(seed: int) -> tuple[Phase, ...]:
    """One of the orders that obey every rule."""
    chance, left, order = random.Random(seed), list(PHASES), list[Phase]()
    while left:
        done = {phase.name for phase in order}
        free = [p for p in left if done.issuperset(p.after)]
        # the phases of every process come before those of processes with work
        free = [p for p in free if p.attributed == all(q.attributed for q in left)]
        order.append(chance.choice(free))
        left.remove(order[-1])
    return tuple(order)


def test_the_table_states_each_rule_once_and_obeys_it() -> None:
    assert [p.attributed for p in PHASES] == sorted(p.attributed for p in PHASES)
    for at, phase in enumerate(PHASES):
        assert set(phase.after) <= {p.name for p in PHASES[:at]}
        for first in phase.after:
            assert not any(first in needs(other) for other in phase.after), (first, phase.name)


@pytest.mark.parametrize(("first", "second"), RULES, ids="-".join)
def test_a_broken_rule_is_noticed(first: str, second: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_noticed(breaking(first, second), monkeypatch)


@pytest.mark.parametrize("at", range(len(PHASES) - 1))
def test_a_swap_of_two_neighbours_is_noticed_or_they_are_independent(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = (*PHASES[:at], PHASES[at + 1], PHASES[at], *PHASES[at + 2 :])
    is_a_rule = PHASES[at].name in PHASES[at + 1].after
    assert is_noticed(order, monkeypatch, every=1 if is_a_rule else 4) == is_a_rule


@pytest.mark.parametrize("seed", range(8))
def test_independent_phases_give_the_same_results_in_any_order(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_noticed(any_order(seed), monkeypatch, every=6)
