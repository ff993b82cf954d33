"""Records about the observing itself: losses, gaps and blind times."""

from __future__ import annotations

from receiver import semconv as sc
from receiver.model import Blind, Gap
from receiver.signals import EMPTY, Attributes, Importance, LogRecord, Severity
from receiver.synthesis.records import RecordBuilder
from receiver.text.printable import printable

_GAPS = {
    "stopped": "the service was stopped",
    "killed": "the service ended without a shutdown (SIGKILL or a crash)",
    "host_restarted": "the host restarted",
}


class ObserverLogs(RecordBuilder):
    """They belong to no work, so they have no trace."""

    def lost_event(self, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        sentence = f"{count} {kind} events were lost before they could be read ({reason})."
        return self._lost(sentence, kind, reason, count, at_ns=at_ns)

    def unsent_event(self, kind: str, reason: str, count: int, at_ns: int) -> LogRecord:
        """`count` is the last known count; it misses the items that a killed service queued after
        that.
        """
        sentence = (
            f"{count} items ({kind}) in the export queue of the previous service were lost "
            f"({reason})."
        )
        return self._lost(sentence, kind, reason, count, at_ns=at_ns)

    def gap_event(self, gap: Gap, at_ns: int) -> LogRecord:
        sentence = (
            f"Nothing was observed for {gap.seconds:.1f} s before this start: {_GAPS[gap.reason]}."
        )
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_GAP_DURATION, gap.seconds),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, gap.reason),
        )
        return self._record(
            sc.EVENT_PIPELINE_OBSERVER_GAP, sentence, items, at_ns, origin="inferred"
        )

    def _lost(
        self,
        sentence: str,
        kind: str,
        reason: str,
        count: int,
        *,
        at_ns: int,
        origin: str = "kernel",
    ) -> LogRecord:
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_EVENTS_LOST, count),
            (sc.PIPELINE_OBSERVER_EVENT_KIND, kind),
            (sc.PIPELINE_OBSERVER_LOSS_REASON, reason),
        )
        return self._record(
            sc.EVENT_PIPELINE_OBSERVER_EVENTS_LOST, sentence, items, at_ns, origin=origin
        )

    def lost_items(self, what: str, reason: str, count: int, at_ns: int) -> LogRecord:
        """Spans, log records or metrics that could not be delivered.

        `what` is the singular, with underscores.
        """
        items_of = what.replace("_", " ") + ("" if count == 1 else "s")
        sentence = f"{count} {items_of} could not be delivered and will not come ({reason})."
        return self._lost(sentence, what, reason, count, at_ns=at_ns, origin="inferred")

    def blind_event(self, blind: Blind, at_ns: int) -> LogRecord:
        seconds = max(0, blind.until_ns - blind.began_ns) / 1e9 if blind.until_ns else 0.0
        how = (
            f"were not observed for {seconds:.3f} s"
            if blind.until_ns
            else "are not observed any more"
        )
        items: Attributes = (
            (sc.PIPELINE_OBSERVER_BLIND_REASON, blind.reason),
            (sc.PIPELINE_OBSERVER_BLIND_DURATION, seconds),
        )
        return self._record(
            sc.EVENT_PIPELINE_OBSERVER_BLIND,
            f"System calls {how}: {printable(blind.why)}.",
            items,
            at_ns,
            origin="kernel",
        )

    def _record(
        self, name: str, sentence: str, items: Attributes, at_ns: int, *, origin: str
    ) -> LogRecord:
        return self._event(
            name,
            Severity.WARN,
            sentence,
            at_ns=at_ns,
            observed_ns=at_ns,
            shared=(EMPTY,),
            items=items,
            origin=origin,
            importance=Importance.FINDING,
            resource=self._resources.resource("unknown"),
        )
