"""Which source: eBPF where the kernel lets us, else netlink where we may listen to it, said aloud."""

from __future__ import annotations

import logging
from pathlib import Path

from receiver.errors import KwitnessError, NamespaceError, PrivilegeError, UnavailableError
from receiver.kernel.callhooks import Attach
from receiver.kernel.confinement import Confinement
from receiver.kernel.netlink import NetlinkSource
from receiver.kernel.probes import effective_capabilities
from receiver.kernel.source import LiveSource, SourceConfig

log = logging.getLogger("kwitness")
Source = LiveSource | NetlinkSource


CAP_NET_ADMIN = 12


def _may_listen() -> bool:
    """Since 6.6 anybody may listen to the process connector, but without privileges most of /proc is shut: that would be half
    a witness, and nobody asked for it."""
    return bool(effective_capabilities(Path("/proc/self/status").read_text()) >> CAP_NET_ADMIN & 1)


def open_source(
    config: SourceConfig,
    *,
    drops: bool = False,
    helper: bool = False,
    launched: bool = False,
    confinement: Confinement | None = None,
) -> Source:
    """`drops`, `helper`: see `Observer`. `launched`: see `LiveSource`. `config.source` is auto, ebpf or netlink. With auto
    the reason why eBPF is refused is what is raised when netlink is refused, too: it is the one to mend."""
    if config.source == "netlink":
        return NetlinkSource(config, launched=launched)
    try:
        attach: Attach = ("helper" if helper else "either") if drops else "ourselves"
        return LiveSource(config, attach=attach, launched=launched, confinement=confinement)
    except (PrivilegeError, UnavailableError) as refused:
        if config.source == "ebpf" or isinstance(refused, NamespaceError) or not _may_listen():
            raise
        try:
            fallback = NetlinkSource(config, launched=launched)
        except (KwitnessError, OSError):
            raise refused from None
        log.warning("eBPF is not to be had (%s): the process connector is used, and much stays invisible", refused)
        return fallback
