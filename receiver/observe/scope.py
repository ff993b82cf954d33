"""The processes that an observer inside of a pid namespace (a container, a pod) may report: those
of that namespace and below.
"""

from __future__ import annotations

from collections import OrderedDict

from receiver.events import Event, Exec, Existing, Fork, ProcessKey
from receiver.model import about

KEPT = 65_536  # processes of the namespace; past it the one seen first is evicted


class Scope:
    """Decides by the namespace in image events, and by ancestry below it.

    With 0 every process is in scope.
    """

    def __init__(self, namespace: int, observer_pid: int) -> None:
        self.namespace = namespace
        self._observer_pid = observer_pid
        self._own: OrderedDict[ProcessKey, None] = OrderedDict()

    def has(self, event: Event) -> bool:
        """Whether the event is about a process in scope."""
        if not self.namespace:
            return True
        if isinstance(event, Exec | Existing | Fork) and (
            self._is_inside(event) or self._is_child(event)
        ):
            self._add(event.process)
        return about(event) in self._own

    def _is_inside(self, event: Exec | Existing | Fork) -> bool:
        return not isinstance(event, Fork) and event.pid_namespace_inode == self.namespace

    def _is_child(self, event: Exec | Existing | Fork) -> bool:
        return event.parent in self._own or event.parent.tgid == self._observer_pid

    def _add(self, key: ProcessKey) -> None:
        self._own[key] = None
        if len(self._own) > KEPT:
            self._own.popitem(last=False)
