"""Hooks that attach on this kernel, and those that cannot."""

from __future__ import annotations

import subprocess

import pytest

from receiver.events import Exit
from tests.live.conftest import Witness

pytestmark = pytest.mark.live


def test_a_hook_that_cannot_attach_is_reported_and_the_rest_works(
    live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from receiver.kernel import probes
    from receiver.kernel.hooks import HOOKS, Hook

    bogus = {"on_title": "no_such_tracepoint", "on_oom_kill": "sched_switch"}
    hooks = tuple(
        Hook(
            h.program,
            bogus.get(h.program, h.tracepoint),
            h.arguments,
            h.blind,
            h.kind,
            required=h.required,
            iterator=h.iterator,
        )
        for h in HOOKS
    )
    monkeypatch.setattr(probes, "HOOKS", hooks)
    witness = Witness()
    coverage = {c.program: c for c in witness.source.coverage()}
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert witness.one(child.pid, Exit).wait_status == 0
    witness.source.close()
    assert (coverage["on_title"].attached, coverage["on_title"].why) == (
        False,
        "this kernel has no tracepoint no_such_tracepoint",
    )
    assert "arguments here, not 2" in coverage["on_oom_kill"].why
    assert coverage["on_title"].blind == "titles that workers give themselves"
    assert coverage["on_exec"].attached


def test_every_hook_attaches_on_this_kernel(witness: Witness) -> None:
    assert [hook.hook for hook in witness.source.coverage() if not hook.attached] == []
