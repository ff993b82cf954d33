"""Chooses the source: eBPF if the kernel permits it, else netlink if it is accessible.

The choice is logged.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from receiver.errors import KwitnessError, NamespaceError, PrivilegeError, UnavailableError
from receiver.kernel.callhooks import Attach
from receiver.kernel.capture import Capture
from receiver.kernel.confinement import Confinement
from receiver.kernel.preflight import effective_capabilities
from receiver.kernel.privileges import CAP_NET_ADMIN
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig

if TYPE_CHECKING:
    from receiver.kernel.netlink import NetlinkSource

log = logging.getLogger("kwitness")
LiveOrFallback: TypeAlias = "LiveSource | NetlinkSource"


def _may_listen() -> bool:
    """Since Linux 6.6 every user may listen to the process connector.

    Without privileges most of /proc is unreadable, so netlink alone sees too little to be chosen
    unless it is asked for.
    """
    return bool(effective_capabilities(Path("/proc/self/status").read_text()) >> CAP_NET_ADMIN & 1)


def _fallback(
    config: SourceConfig, capture: Capture, *, launched: bool, drops: bool
) -> NetlinkSource:
    """Imported here: pyroute2 is loaded only where the fallback is used."""
    from receiver.kernel.netlink import NetlinkSource

    return NetlinkSource(config, capture, launched=launched, drops=drops)


def open_source(
    config: SourceConfig,
    capture: Capture,
    *,
    drops: bool = False,
    helper: bool = False,
    launched: bool = False,
    confinement: Confinement | None = None,
) -> LiveOrFallback:
    """`drops`, `helper`: see `Observer`.

    `launched`: see `LiveSource`. `config.source` is auto, ebpf or netlink. If auto fails with both
    sources, it raises the reason for which eBPF is refused, because that is the one to fix.
    """
    if config.source == "netlink":
        return _fallback(config, capture, launched=launched, drops=drops)
    try:
        attach: Attach = ("helper" if helper else "either") if drops else "ourselves"
        return LiveSource(
            config, capture, attach=attach, launched=launched, confinement=confinement
        )
    except (PrivilegeError, UnavailableError) as refused:
        if config.source == "ebpf" or isinstance(refused, NamespaceError) or not _may_listen():
            raise
        try:
            fallback = _fallback(config, capture, launched=launched, drops=drops)
        except (KwitnessError, OSError):
            raise refused from None
        log.warning(
            "eBPF is not available (%s): using the process connector, which misses many events",
            refused,
        )
        return fallback
