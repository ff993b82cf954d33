"""The open executions and runs, by identity, and the keys of those that are over."""

from __future__ import annotations

from collections import OrderedDict

from receiver.model import BACKED, CERTAIN, Identity, RunKey, Slot
from receiver.work.execution import Execution, Names
from receiver.work.fair_table import FairTable
from receiver.work.runs import Run
from receiver.work.shares import Rates, Share

# attempts whose span is exported: a late process of theirs must not open a second one; and proven
# runs
REMEMBERED_ENDED = 4096
# attempts, and runs, at a time: an environment can name any number of them; one user gets half
OPEN_LIMIT = 20_000


def _names(identity: Identity) -> Names:
    return (identity.scope, *identity.key[:5])


def _run_names(identity: Identity) -> tuple[str, str, str]:
    return (identity.system, identity.pipeline, identity.run_id)


class Executions:
    """The open executions, by identity, and the keys of those that are over."""

    def __init__(self, grace_ns: int, run_grace_ns: int) -> None:
        self.grace_ns = grace_ns
        self.run_grace_ns = run_grace_ns
        self.open: dict[object, Execution] = {}
        self.runs: dict[RunKey, Run] = {}
        self._named: dict[Names, dict[int, Execution]] = {}  # of `open`, by map index
        self._open_share, self._run_share, self._rates = Share(), Share(), Rates()
        self._ended: FairTable[Slot, Execution] = FairTable(REMEMBERED_ENDED)
        self._proven: OrderedDict[tuple[str, str, str], dict[int, tuple[bytes, bytes]]] = (
            OrderedDict()
        )

    def last_ended(self, slot: Slot) -> Execution | None:
        return self._ended.get(slot)

    def proven_for_others(self, identity: Identity) -> tuple[int, tuple[bytes, bytes]] | None:
        """Another user who provably owns this run, with the trace and span id of the run."""
        owners = self._proven.get(_run_names(identity))
        return (
            next(((o, ids) for o, ids in owners.items() if o != identity.owner), None)
            if owners
            else None
        )

    def refuses(self, identity: Identity, outer: Execution | None, at_ns: int) -> str:
        """Why no more work of this user can be opened now; empty when it can. Proven work, and work
        that kwitness itself has started, is limited by the room alone."""
        owner = identity.owner
        if not (
            self._open_share.has_room(owner, OPEN_LIMIT)
            and self._run_share.has_room(owner, OPEN_LIMIT)
        ):
            return "too_many_executions"
        ours = identity.source == "command" or (
            outer is not None and outer.outermost.identity.source == "command"
        )
        return (
            ""
            if ours or identity.confidence >= BACKED or self._rates.allows(owner, at_ns)
            else "too_many_claims"
        )

    def like(self, identity: Identity) -> Execution | None:
        """Open work of the same names and scope. A map index that only one of them states does not
        tell them apart."""
        found = self._named.get(_names(identity))
        if not found:
            return None
        if identity.map_index >= 0:
            return found.get(identity.map_index) or found.get(-1)
        return found.get(-1) or next(iter(found.values()))

    def place(self, execution: Execution) -> None:
        """Under its slot and its names. Whoever has these names already keeps them."""
        identity = execution.identity
        self.open[execution.slot] = execution
        execution.names = _names(identity)
        if not execution.claimed:
            self._named.setdefault(execution.names, {}).setdefault(identity.map_index, execution)

    def displace(self, execution: Execution) -> None:
        self.open.pop(execution.slot, None)
        if execution.names is None:
            return
        found, index = self._named.get(execution.names, {}), execution.identity.map_index
        if found.get(index) is execution:
            del found[index]
            if not found:
                del self._named[execution.names]

    def opened(self, execution: Execution) -> None:
        self.place(execution)
        self._open_share.take(execution.identity.owner)
        if execution.outer is not None:
            execution.outer.inside[execution] = None
        if execution.run.key not in self.runs:
            self._run_share.take(execution.run.identity.owner)
        self.runs[execution.run.key] = execution.run
        execution.run.active += 1
        identity = execution.identity
        if identity.confidence >= CERTAIN and identity.portable:
            owners = self._proven.setdefault(_run_names(identity), {})
            owners.setdefault(identity.owner, (execution.run.trace_id, execution.run.span_id))
            self._proven.move_to_end(_run_names(identity))
            if len(self._proven) > REMEMBERED_ENDED:
                self._proven.popitem(last=False)

    def close(self, execution: Execution) -> None:
        execution.closed = True
        self.displace(execution)
        self._open_share.give_back(execution.identity.owner)
        if execution.outer is not None:
            execution.outer.inside.pop(execution, None)
        if not execution.claimed and not execution.is_step:
            identity = execution.identity
            self._ended.put(identity.slot, execution, identity.owner)
        run = execution.run
        run.active -= 1
        run.end_ns = max(run.end_ns, execution.end_ns)
        if execution.own_run:  # the work around it reports for it
            run.failed[(execution.identity.task, execution.identity.map_index)] = (
                execution.result == "failure"
            )

    def close_run(self, run: Run) -> bool:
        """Whether it was open."""
        if self.runs.pop(run.key, None) is None:
            return False
        self._run_share.give_back(run.identity.owner)
        return True

    def due(self, now_ns: int) -> list[Execution]:
        """The executions that are over, inner ones first.

        With holders: when the last of them has ended, at once if no process of it lives, else after
        the grace period; then the living processes are released. Without: when none of its
        processes has lived for the grace period. A command ends with its own process.
        """
        found = [e for e in self.open.values() if not e.is_step and self._is_due(e, now_ns)]
        return sorted(found, key=lambda e: sum(1 for _ in e.chain()), reverse=True)

    def _is_due(self, execution: Execution, now_ns: int) -> bool:
        if execution.identity.type == "command" and execution.identity.source == "command":
            return not execution.live
        late = now_ns - execution.end_ns >= self.grace_ns
        if execution.has_owner:
            return not execution.owner_processes and (late or not execution.live)
        return late and not execution.live

    def due_runs(self, now_ns: int) -> list[Run]:
        """Runs without an open attempt for the grace period: in most cases their real end is not
        visible.
        """
        return [
            r
            for r in self.runs.values()
            if not r.active
            and (r.identity.type == "command" or now_ns - r.end_ns >= self.run_grace_ns)
        ]
