"""Which processes are ours to tell, where we live in a pid namespace of our own (a container, a pod): those in it, and below."""

from __future__ import annotations

from collections import OrderedDict

from receiver.events import Event, Exec, Existing, Fork, ProcessKey

KEPT = 65_536  # processes of the namespace; past it the one met first is forgotten
_SUBJECTS = ("process", "target", "victim")


class Scope:
    """By the namespace that images state, and by ancestry below it. With 0 everything is ours."""

    def __init__(self, namespace: int, observer_pid: int) -> None:
        self.namespace = namespace
        self._observer_pid = observer_pid
        self._own: OrderedDict[ProcessKey, None] = OrderedDict()

    def has(self, event: Event) -> bool:
        """Whether it is about one of ours."""
        if not self.namespace:
            return True
        if isinstance(event, Exec | Existing | Fork) and (
            self._is_inside(event) or self._is_child(event)
        ):
            self._add(event.process)
        return any(getattr(event, name, None) in self._own for name in _SUBJECTS)

    def _is_inside(self, event: Exec | Existing | Fork) -> bool:
        return not isinstance(event, Fork) and event.pid_namespace_inode == self.namespace

    def _is_child(self, event: Exec | Existing | Fork) -> bool:
        return event.parent in self._own or event.parent.tgid == self._observer_pid

    def _add(self, key: ProcessKey) -> None:
        self._own[key] = None
        if len(self._own) > KEPT:
            self._own.popitem(last=False)
