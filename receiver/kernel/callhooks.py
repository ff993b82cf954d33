"""The system-call hooks.

They are attached while a task is watched, by this process or by a helper.
"""

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
    """`want`: whether the hooks should be attached.

    `attached`: whether they are. `failure`: why they are not attached although they should be, or
    why the next attempt cannot succeed. `final`: no later attempt can succeed.
    """

    def __init__(
        self, probes: Probes, attach: Attach, confinement: Confinement | None = None
    ) -> None:
        """`attach`: which process attaches.

        `either`: a helper if the kernel refuses to attach for a process without privileges.
        """
        self._probes = probes
        needs_helper = attach == "helper" or (attach == "either" and is_needed(probes))
        self._helper = Helper(probes, confinement) if needs_helper else None
        self._left: Helper | None = None  # a helper that is no longer used
        self.wanted = False
        self.failure = ""
        self.final = False
        self.on_attached: Callable[[], None] = lambda: None
        # the period without system calls (end 0: it continues), and its reason
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
        """Call this when the helper's socket is readable, and periodically."""
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
        """Call this about once a second.

        It retries after a failure whose reason may have passed.
        """
        self.poll()
        if self.failure and not self.final and self._helper is None:
            self._take_over()

    def _lose(self, helper: Helper) -> None:
        """Stops using the helper. This process attaches by itself if it may."""
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
                boottime_ns(), f"cannot attach the system-call hooks ({refused.strerror})"
            )
            self._fail(refused)
        else:
            self._resume()

    def _fail(self, refused: OSError) -> None:
        self.failure = self._why or f"cannot attach the system-call hooks ({refused.strerror})"
        self.final = refused.errno in (errno.EPERM, errno.EACCES)
        if not self._interrupted_ns:  # nothing is watched now; the next task would get no hooks
            self._interrupted_ns = boottime_ns()
            self.on_interrupted(self._interrupted_ns, 0, self.failure)

    def _interrupt(self, since_ns: int, why: str) -> None:
        """`since_ns` 0: nothing was watched then."""
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
        """Detaches. The helper goes first: it holds links to all hooks of this host."""
        for helper in (self._helper, self._left):
            if helper is not None:
                helper.close()
        self._helper = self._left = None
        self._probes.detach_calls()
