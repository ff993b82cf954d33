"""The pids of this process as the kernel half knows them, in a pid namespace of its own."""

from __future__ import annotations

import contextlib
import os

from receiver.errors import NamespaceError
from receiver.events import Existing
from receiver.kernel.bpf_object import Object
from receiver.kernel.decode import decode, split
from receiver.kernel.hooks import HOOKS
from receiver.kernel.libbpf import Library
from receiver.kernel.preflight import OBJECT
from receiver.text.redact import Redactor


def own_tgids(library: Library, namespace: int) -> tuple[int, int]:
    """The pids of this process and its parent as the kernel half knows them.

    In a pid namespace only the kernel knows these.
    """
    with contextlib.closing(Object(library, OBJECT)) as probe:
        for hook in HOOKS:
            if hook.program != "on_existing":
                probe.skip(hook.program)
        try:
            probe.load()
            probe.open_iterator("on_existing", None)
        except OSError as failure:
            raise NamespaceError(
                "this is not the host's pid namespace, and the kernel did not give this "
                f"process's own pid ({failure.strerror}): use --pid=host",
                "pid_namespace",
            ) from failure
        for raw in split(probe.iterate("on_existing")):
            event = decode(raw, Redactor("strip"))
            if isinstance(event, Existing) and (
                event.pid_namespace_inode,
                event.pid_namespace_pid,
            ) == (
                namespace,
                os.getpid(),
            ):
                return event.process.tgid, event.parent.tgid
    raise NamespaceError(
        "this is not the host's pid namespace, and this process was not found in the host's: "
        "use --pid=host",
        "pid_namespace",
    )
