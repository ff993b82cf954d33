"""The process that attaches for a service without privileges:
what it answers, how it ends, and that nobody waits for it."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from receiver.kernel import helper as module
from receiver.kernel.helper import Helper


class Probes:
    """Stands in for the loaded programs. What it does is done in the forked process."""

    def __init__(self, attach: Callable[[], None] = lambda: None) -> None:
        self.library = self
        self.attach_calls = attach

    def rename_self(self, name: bytes) -> None: ...

    def detach_calls(self) -> None: ...

    def helper(self) -> None:
        """Of the confinement: none."""


class Gate:
    """The forked process waits in `pass_through` until `open` is called here."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def pass_through(self) -> None:
        os.read(self._read, 1)

    def close_all_and_wait(self) -> None:
        """As a process whose exit takes long: its socket is closed, and it is there."""
        keep = os.dup2(self._read, 200)
        os.closerange(3, 200)
        os.read(keep, 1)
        os._exit(0)

    def open(self) -> None:
        os.write(self._write, b"x")

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


@pytest.fixture
def helper(request: pytest.FixtureRequest) -> Iterator[Callable[..., Helper]]:
    made: list[Helper] = []

    def make(attach: Callable[[], None] = lambda: None) -> Helper:
        probes: Any = Probes(attach)
        made.append(Helper(probes, probes))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answered(helper: Helper) -> None:
    """Waits until there is something to read, and reads it."""
    assert select.select([helper.fileno()], [], [], 30)[0]
    helper.poll()


def until_failed(helper: Helper) -> str:
    """As the service does it: when the socket is readable, and once more when it has exited."""
    exited = os.pidfd_open(helper.pid)
    try:
        answered(helper)
        assert select.select([exited], [], [], 30)[0]
    finally:
        os.close(exited)
    helper.poll()
    return helper.failure


def attached(helper: Helper) -> bool:
    return helper.attached


def test_it_attaches_and_detaches_as_it_is_asked(helper: Callable[..., Helper]) -> None:
    found = helper()
    found.want(True)
    assert not attached(found)
    answered(found)
    assert attached(found) and not found.failure
    found.want(False)
    answered(found)
    assert not attached(found) and not found.failure
    pid = found.pid
    found.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)  # it was waited for


def test_a_wish_that_changed_before_the_answer_is_asked_for_after_it(
    helper: Callable[..., Helper], gate: Gate
) -> None:
    found = helper(gate.pass_through)
    found.want(True)
    found.want(False)
    found.poll()
    assert not attached(found) and not found.failure
    gate.open()
    answered(found)
    assert attached(found)  # the first question; the second is on its way
    answered(found)
    assert not attached(found) and not found.failure


def test_a_refusal_is_its_failure(helper: Callable[..., Helper]) -> None:
    def refuse() -> None:
        raise PermissionError

    found = helper(refuse)
    found.want(True)
    answered(found)
    assert found.failure == f"the helper (pid {found.pid}) cannot attach the system-call hooks"
    assert not attached(found)


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 3, "signal 37")]
)
def test_its_death_is_told_with_the_signal(
    helper: Callable[..., Helper], number: int, name: str
) -> None:
    found = helper()
    found.want(True)
    answered(found)
    os.kill(found.pid, number)
    assert until_failed(found) == f"the helper (pid {found.pid}) was killed by {name}"


def test_an_error_in_it_is_told_with_its_status(helper: Callable[..., Helper]) -> None:
    found = helper(lambda: os._exit(7))
    found.want(True)
    assert until_failed(found) == f"the helper (pid {found.pid}) exited with status 7"


def test_nobody_waits_for_one_that_takes_long_to_exit(
    helper: Callable[..., Helper], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = helper(gate.close_all_and_wait)
    found.want(True)
    answered(found)  # returns although the process is there
    assert found.closed and not found.failure
    found.poll()
    assert not found.failure
    monkeypatch.setattr(module, "END_SECONDS", 0.0)
    found.poll()
    assert found.failure == f"the helper (pid {found.pid}) has ended"
    gate.open()


def test_one_that_does_not_answer_is_given_up(
    helper: Callable[..., Helper], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = helper(gate.pass_through)
    found.want(True)
    found.poll()
    assert not found.failure
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.0)
    found.poll()
    assert found.failure.startswith(f"the helper (pid {found.pid}) has not answered for")
    gate.open()


def test_after_leave_it_exits_and_its_socket_can_still_be_polled(
    helper: Callable[..., Helper],
) -> None:
    found = helper()
    found.leave()
    assert until_failed(found) == f"the helper (pid {found.pid}) exited with status 0"
    assert found.fileno() >= 0
