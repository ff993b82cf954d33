"""Which process accepted connections at which port: the other end of connections on this host."""

from __future__ import annotations

from collections import Counter, OrderedDict

from receiver.events import Connection, ConnectionStage
from receiver.work.worker import Worker

KEPT_SERVERS = 4096


class Servers:
    """The last accepting process of each pair of ports, and of each port; `drops` counts evicted
    ones.

    A server can end before its clients. So an entry outlives the process.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        # by the ports of both ends
        self._servers: OrderedDict[tuple[int, int], Worker] = OrderedDict()
        # by the local port
        self._accepted_at: OrderedDict[int, Worker] = OrderedDict()

    def accepted(self, process: Worker, fact: Connection) -> None:
        self._servers[(fact.peer_port, fact.local_port)] = process
        self._accepted_at[fact.local_port] = process
        if len(self._servers) > KEPT_SERVERS:
            self._servers.popitem(last=False)
            self.drops["forgotten_server"] += 1
        if len(self._accepted_at) > KEPT_SERVERS:
            self._accepted_at.popitem(last=False)
            self.drops["forgotten_server"] += 1

    def says_farewell(self, process: Worker, fact: Connection) -> bool:
        """The other end does the same work, and ends with it: the last bytes are never read."""
        other = self._servers.get((fact.local_port, fact.peer_port))
        if (
            fact.stage != ConnectionStage.CLOSED
            or other is None
            or other.execution is None
            or process.execution is None
        ):
            return False
        return other.execution.outermost is process.execution.outermost

    def has_shut_down(self, process: Worker, port: int) -> bool:
        """A server of the same work had this port, and has ended well: its client only tries again
        while it is closed itself, which is normal.
        """
        server = self._accepted_at.get(port)
        if server is None or server.exit is None or server.end.failed:
            return False
        ours, theirs = process.execution, server.execution
        return ours is not None and theirs is not None and ours.outermost is theirs.outermost
