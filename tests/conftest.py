"""Async tests on both loops, leaked descriptors, and the rule for tests that need more
than a laptop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
REQUIRED = set(filter(None, os.environ.get("KWITNESS_TEST_REQUIRE", "").split(",")))


def missing(kind: str, reason: str) -> None:
    """Skips with the reason, unless KWITNESS_TEST_REQUIRE names the kind:
    then the same reason is a failure."""
    if kind in REQUIRED:
        pytest.fail(f"KWITNESS_TEST_REQUIRE names {kind}, but {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("loop_name")
        metafunc.parametrize("loop_name", list(LOOPS))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs `async def` tests in debug mode, each on asyncio and on uvloop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner(
        debug=True, loop_factory=LOOPS[str(pyfuncitem.callspec.params["loop_name"])]
    ) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session", autouse=True)
def process_wide_descriptors() -> None:
    """libuv and grpc keep a few for the life of the process: opened here, before anybody counts."""
    import grpc

    async def once() -> None:
        asyncio.get_running_loop().add_signal_handler(10, lambda: None)
        asyncio.get_running_loop().remove_signal_handler(10)
        await grpc.aio.insecure_channel("localhost:1").close()

    for factory in LOOPS.values():
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(once())


def open_descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:  # the directory's own descriptor
            continue
    return found


@pytest.fixture(autouse=True)
def no_leaked_descriptors() -> Iterator[None]:
    """A test that leaves a descriptor open fails."""
    before = open_descriptors()
    yield
    leaked: dict[str, str] = {}
    for _ in range(40):  # grpc's own threads close theirs a moment after the channel is gone
        gc.collect()
        leaked = {fd: name for fd, name in open_descriptors().items() if before.get(fd) != name}
        if not leaked:
            return
        time.sleep(0.05)
    assert not leaked, f"descriptors left open: {leaked}"


@pytest.fixture(autouse=True)
def live_check(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything that any exporter of this process sends in a test must be what
    the registry says."""
    from receiver.export.pipeline import Pipeline
    from tests.livecheck import check_bytes

    sent: list[tuple[Any, bytes]] = []
    original = Pipeline.__init__

    def wrapped(self: Pipeline, signal: Any, transport: Any, *rest: Any) -> None:
        send = transport.send

        async def noted(body: bytes) -> Any:
            sent.append((signal, body))
            return await send(body)

        transport.send = noted
        original(self, signal, transport, *rest)

    monkeypatch.setattr(Pipeline, "__init__", wrapped)
    yield
    violations = [v for signal, body in sent for v in check_bytes(signal, body)]
    assert not violations, violations[:10]


@pytest.fixture
def live() -> None:
    """For tests on the real kernel."""
    from receiver.errors import KwitnessError
    from receiver.kernel.preflight import preflight

    try:
        preflight()
    except KwitnessError as reason:
        missing("live", str(reason))
