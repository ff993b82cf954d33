"""The composition root without a kernel: what it does when the process has no descriptor left."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Any

import pytest

from receiver.events import Ledger
from receiver.kernel import clock
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.service import app
from receiver.service.app import Observer
from tests.builders import Story


class Source:
    """A source whose samples fail as often as asked."""

    name, namespace, following, own_tgid = "ebpf", 0, True, 1
    hooks, read_until_ns = None, 0

    def __init__(self) -> None:
        self.failures: list[OSError] = []

    def sample(self) -> list[bytes]:
        if self.failures:
            raise self.failures.pop()
        return []

    def canary(self) -> bool:
        return True

    def ledger(self) -> Ledger:
        return Ledger((), (), (), ())

    def user_losses(self) -> dict[tuple[int, int, int], int]:
        return {}

    def watch(self, pids: Any) -> None: ...

    def __getattr__(self, name: str) -> Callable[..., list[Any]]:
        return lambda *_: []


@pytest.fixture
def observer(monkeypatch: pytest.MonkeyPatch) -> Any:
    source = Source()
    monkeypatch.setattr(app, "open_source", lambda *_, **__: source)
    monkeypatch.setattr(app, "losses_of", lambda _: {})
    made = Observer(SourceConfig(), CoreOptions(), None)
    made.canary_at = 1e18
    yield made
    made.sampler.close()


def test_a_sample_that_finds_no_descriptor_is_taken_with_those_kept_back(observer: Any) -> None:
    observer.source.failures = [OSError(errno.EMFILE, "on_tasks")]
    observer.tick()
    assert observer.ready() == "ready" and not observer.core.missing.losses


def test_a_sample_that_cannot_be_taken_is_counted_and_the_service_goes_on(
    observer: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        observer.source.failures = [
            OSError(errno.EMFILE, "on_tasks"),
            OSError(errno.ENFILE, "on_tasks"),
        ]
        observer.sampler.next_at = 0.0
        observer.tick()
        assert observer.ready() == "blind"
    observer.sampler.next_at = 0.0
    observer.tick()
    assert observer.ready() == "ready"
    assert observer.core.missing.losses == {("process_sample", "no_descriptor"): 3}
    assert [
        m.points[0].value
        for m in observer.metrics()
        if m.name == "pipeline.observer.samples_missed"
    ] == [3]
    assert len([r for r in caplog.records if "LimitNOFILE" in r.getMessage()]) == 1


def test_another_failure_of_a_sample_is_not_hidden(observer: Any) -> None:
    observer.source.failures = [OSError(errno.EBADF, "on_tasks")]
    with pytest.raises(OSError, match="on_tasks"):
        observer.tick()


def test_a_process_whose_file_cannot_be_opened_is_not_taken_for_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = Story()
    key = story.command("sleep", "1")

    def refuse(number: int) -> Callable[..., Any]:
        def opened(*_: Any, **__: Any) -> Any:
            raise OSError(number, "no")

        return opened

    monkeypatch.setattr("builtins.open", refuse(errno.EMFILE))
    assert clock.gone([key]) == []
    monkeypatch.setattr("builtins.open", refuse(errno.ENOENT))
    assert clock.gone([key]) == [key]


async def test_what_a_burst_left_over_is_investigated_between_the_ticks_and_in_steps(
    observer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks of the event loop, such as the answer to a probe, run between the steps."""
    left, at_each_turn = [30], []

    def step(_: int) -> None:
        left[0] -= min(left[0], 10)

    async def others() -> None:
        while True:
            at_each_turn.append(left[0])
            await asyncio.sleep(0)

    monkeypatch.setattr(app, "STEP_SECONDS", 0.001)
    monkeypatch.setattr(observer, "_is_behind", lambda: left[0] > 0)
    monkeypatch.setattr(observer.session, "tick", step)
    probe = asyncio.create_task(others())
    pause = asyncio.create_task(observer._until_next_tick())
    while left[0]:
        assert not pause.done(), "it waited for the next tick"
        await asyncio.sleep(0)
    probe.cancel()
    pause.cancel()
    assert {30, 20, 10} <= set(at_each_turn)
