"""Records of items that were lost before delivery: when a record is due, and for how many items."""

from __future__ import annotations

from collections.abc import Mapping

from receiver.signals import LogRecord
from receiver.synthesis.logs import Logs

QUIET_NS = 60_000_000_000
_ITEMS = {"traces": "span", "logs": "log_record", "metrics": "metric"}


class LossRecords:
    """The first loss of each signal and reason is a record at once. Later losses are one record a
    minute, with the count since.

    The given losses must not count the loss of these records: otherwise a Collector that refuses
    everything would cause an endless series of them.
    """

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        # by signal and reason: the reported count, and its time
        self._reported: dict[tuple[str, str], tuple[int, int]] = {}

    def due(
        self, losses: Mapping[tuple[str, str], int], now_ns: int, *, last: bool = False
    ) -> list[LogRecord]:
        """Records for the losses that have grown.

        `losses` are totals by signal and reason; `last`: there is no later call.
        """
        out = []
        for (signal, reason), total in losses.items():
            before, at_ns = self._reported.get((signal, reason), (0, -QUIET_NS))
            if total > before and (last or now_ns - at_ns >= QUIET_NS):
                self._reported[signal, reason] = (total, now_ns)
                out.append(self._logs.lost_items(_ITEMS[signal], reason, total - before, now_ns))
        return out
