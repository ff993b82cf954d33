"""The hooks for system calls: attached while something is watched, by ourselves or by a helper, and watched themselves."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Literal

from receiver.kernel.clock import boottime_ns
from receiver.kernel.confinement import Confinement
from receiver.kernel.helper import Helper, is_needed
from receiver.kernel.probes import Probes

Attach = Literal["ourselves", "helper", "either"]


class CallHooks:
    """`want` says whether they should be attached, `attached` whether they are. `failure` says why they are not though they should
    be, or why they cannot be when they are needed next; `final` that no later attempt can succeed."""

    def __init__(
        self, probes: Probes, attach: Attach, confinement: Confinement | None = None
    ) -> None:
        """`attach`: who attaches. Either: a helper where the kernel would refuse us when our privileges are gone."""
        self._probes = probes
        needs_helper = attach == "helper" or (attach == "either" and is_needed(probes))
        self._helper = Helper(probes, confinement) if needs_helper else None
        self._left: Helper | None = None  # one that is of no use any more
        self.wanted = False
        self.failure = ""
        self.final = False
        self.on_attached: Callable[[], None] = lambda: None
        # from when to when (0: it goes on) system calls were not seen, and why
        self.on_interrupted: Callable[[int, int, str], None] = lambda *_: None
        self._interrupted_ns = 0
        self._why = ""

    @property
    def attached(self) -> bool:
        return self._helper.attached if self._helper is not None else self._probes.calls_attached

    @property
    def helper(self) -> Helper | None:
        return self._helper

    def want(self, on: bool) -> None:
        self.wanted = on
        if self._helper is not None:
            self._helper.want(on)
            self.poll()
        elif on and not self.attached:
            self._attach()
        elif not on:
            self._probes.detach_calls()

    def poll(self) -> None:
        """Call when the helper's socket has something to read, and now and then."""
        helper = self._helper
        if helper is None:
            return
        before = helper.attached
        helper.poll()
        if helper.failure:
            self._lose(helper)
        elif helper.attached and not before:
            self._resume()

    def retry(self) -> None:
        """Call about once a second. Tries again what failed for a reason that may have passed."""
        self.poll()
        if self.failure and not self.final and self._helper is None:
            self._take_over()

    def _lose(self, helper: Helper) -> None:
        """The helper is of no use: we go on without it where we may attach ourselves."""
        self._interrupt(helper.alive_ns if helper.attached or self.wanted else 0, helper.failure)
        helper.leave()
        self._helper, self._left = None, helper
        self._take_over()

    def _take_over(self) -> None:
        if self.wanted:
            self._attach()
            return
        try:
            self._probes.try_calls()
        except OSError as refused:
            self._fail(refused)
        else:
            self._resume()

    def _attach(self) -> None:
        try:
            self._probes.attach_calls()
        except OSError as refused:
            self._interrupt(
                boottime_ns(), f"the hooks for system calls cannot be attached ({refused.strerror})"
            )
            self._fail(refused)
        else:
            self._resume()

    def _fail(self, refused: OSError) -> None:
        self.failure = (
            self._why or f"the hooks for system calls cannot be attached ({refused.strerror})"
        )
        self.final = refused.errno in (errno.EPERM, errno.EACCES)
        if not self._interrupted_ns:  # nothing is watched now: the next task would not be
            self._interrupted_ns = boottime_ns()
            self.on_interrupted(self._interrupted_ns, 0, self.failure)

    def _interrupt(self, since_ns: int, why: str) -> None:
        """`since_ns` 0: nothing was watched."""
        self._why = self._why or why
        if since_ns and not self._interrupted_ns:
            self._interrupted_ns = since_ns
            self.on_interrupted(since_ns, 0, self._why)

    def _resume(self) -> None:
        if self._why or self._interrupted_ns:
            now = boottime_ns()
            self.on_interrupted(self._interrupted_ns or now, now, self._why or self.failure)
        self.failure, self._why, self._interrupted_ns = "", "", 0
        if self.attached:
            self.on_attached()

    def close(self) -> None:
        """Detaches. The helper holds links to all hooks of the host: it goes first."""
        for helper in (self._helper, self._left):
            if helper is not None:
                helper.close()
        self._helper = self._left = None
        self._probes.detach_calls()
