"""The event loop of every command: uvloop, or asyncio's own where uvloop cannot be imported."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from receiver.kernel.seccomp import forbid_rings

log = logging.getLogger("kwitness")
Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Runs the coroutine in a loop of its own, as asyncio.run does, and gives its result.

    io_uring is forbidden first, for the rest of the process's life: uvloop's libuv would open a
    ring with the loop.
    """
    forbid_rings()
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError as error:
        log.info("uvloop cannot be imported, asyncio's own event loop is used: %s", error)
        return asyncio.new_event_loop

    def started() -> asyncio.AbstractEventLoop:
        """uvloop opens its descriptors when it runs first, and cannot be closed when that fails."""
        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(asyncio.sleep(0))
        except OSError as error:
            log.debug("uvloop cannot start, asyncio's own event loop is used: %s", error)
            return asyncio.new_event_loop()
        return loop

    return started
