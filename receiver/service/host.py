"""This host and the account of its kernel half, as values for the core."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from receiver import semconv as sc
from receiver.events import EventKind, FilterReason, Ledger, LossReason
from receiver.kernel.choose import LiveOrFallback
from receiver.kernel.clock import boot_id, boottime_ns, host_addresses, host_name, machine_id
from receiver.model import CoreOptions, Host
from receiver.signals import Metric, Point


def this_host(source: str = "ebpf") -> Host:
    """The session id belongs to this attachment: event ids start again with every attachment."""
    boot = boot_id()
    session = hashlib.sha256(f"{boot} {boottime_ns()}".encode()).hexdigest()[:12]
    return Host(boot, host_name(), session, source=source, id=machine_id())


def host_of(source: LiveOrFallback, options: CoreOptions) -> Host:
    """The host as this source sees it: of one pid namespace, or whole."""
    host = this_host(source.name)
    if source.namespace:
        host = msgspec.structs.replace(
            host, pid_namespace=source.namespace, observer_pid=source.starter_tgid
        )
    if options.include_addresses:
        host = msgspec.structs.replace(host, addresses=host_addresses())
    return host


def losses_of(ledger: Ledger) -> dict[tuple[str, str], int]:
    """Cumulative losses by (kind, reason), without zeros."""
    return {
        (EventKind(kind).name.lower(), LossReason(reason).name.lower()): count
        for kind, reasons in enumerate(ledger.lost)
        for reason, count in enumerate(reasons)
        if count and kind
    }


def by_user_of(rows: Mapping[tuple[int, int, int], int]) -> dict[tuple[str, str, int], int]:
    """Cumulative losses by (kind, reason, user). Rows of kinds that are not known are left out."""
    return {
        (EventKind(kind).name.lower(), LossReason(reason).name.lower(), user): count
        for (user, kind, reason), count in rows.items()
    }


def skipped_metric(ledger: Ledger) -> Metric:
    """The events that the kernel half did not send, by kind and reason."""
    points = tuple(
        Point(
            (
                (sc.PIPELINE_OBSERVER_EVENT_KIND, EventKind(kind).name.lower()),
                (sc.PIPELINE_OBSERVER_LOSS_REASON, reason.name.lower()),
            ),
            count,
        )
        for kind, counts in enumerate(ledger.filtered)
        for reason, count in zip(FilterReason, counts, strict=True)
        if count and kind
    )
    return Metric(*sc.METRIC_PIPELINE_OBSERVER_SKIPPED, points)
