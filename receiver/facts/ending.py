"""How a process ended: its decoded wait status."""

from __future__ import annotations

from typing import Literal

import msgspec

from receiver.text.names import end_phrase, signal_name


class Ending(msgspec.Struct, frozen=True):
    """A decoded wait status.

    `code` is the shell's: 128 + signal for a process that a signal killed.
    """

    code: int
    cause: Literal["exited", "signaled", "oom_killed"]
    signal: int
    core_dumped: bool
    expected_shutdown: bool = False  # its own framework ended this helper, as planned

    @property
    def failed(self) -> bool:
        return self.code != 0 and not self.expected_shutdown

    @property
    def error(self) -> str:
        """error.type: empty, oom_killed, a signal's name, or exit_N."""
        if self.expected_shutdown:
            return ""
        if self.cause == "oom_killed":
            return "oom_killed"
        if self.signal:
            return signal_name(self.signal)
        return f"exit_{self.code}" if self.code else ""

    @property
    def words(self) -> str:
        """For a sentence: `exited with status 1`."""
        return (
            "was ended by its own framework" if self.expected_shutdown else end_phrase(self.error)
        )


RUNNING = Ending(0, "exited", 0, False)  # the end of a process whose exit was not seen


def decoded(wait_status: int, *, oom_killed: bool = False) -> Ending:
    """`oom_killed`: the OOM killer had chosen the process."""
    signal = wait_status & 0x7F
    if not signal:
        return Ending(wait_status >> 8 & 0xFF, "exited", 0, False)
    cause: Literal["signaled", "oom_killed"] = "oom_killed" if oom_killed else "signaled"
    return Ending(128 + signal, cause, signal, bool(wait_status & 0x80))
