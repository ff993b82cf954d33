"""Async tests on both loops, leaked descriptors, and the rule for tests that need more than a laptop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
REQUIRED = set(filter(None, os.environ.get("KWITNESS_TEST_REQUIRE", "").split(",")))


def missing(kind: str, reason: str) -> None:
    """Skips with the reason, unless KWITNESS_TEST_REQUIRE names the kind: then the same reason is a failure."""
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
    with asyncio.Runner(debug=True, loop_factory=LOOPS[pyfuncitem.callspec.params["loop_name"]]) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


def open_descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:  # the directory's own descriptor
            continue
    return found


@pytest.fixture(autouse=True)
def no_leaked_descriptors(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a descriptor open fails. grpc keeps one event descriptor for the process: not a leak of the test's."""
    before = open_descriptors()
    yield
    gc.collect()
    leaked = {fd: name for fd, name in open_descriptors().items() if before.get(fd) != name}
    leaked = {fd: name for fd, name in leaked.items() if "grpc" not in request.node.nodeid or "eventfd" not in name and "eventpoll" not in name}
    assert not leaked, f"descriptors left open: {leaked}"


@pytest.fixture
def live() -> None:
    """For tests on the real kernel."""
    from receiver.errors import KwitnessError
    from receiver.kernel.probes import preflight

    try:
        preflight()
    except KwitnessError as reason:
        missing("live", str(reason))
