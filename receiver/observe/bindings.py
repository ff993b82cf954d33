"""Binds processes to work: asks the recognisers whenever an event may identify a task, and applies
their claims.

A binding is an identity that a process subtree holds, inside of its earlier identities. It ends
with the process that holds it, or when that process's title says that it is idle.

Every claim is judged (`receiver.observe.judging`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict

import msgspec

from receiver.attribution.claims import (
    Begin,
    Bind,
    Claim,
    Claims,
    End,
    Expect,
    Idle,
    Imports,
    Refine,
    Role,
)
from receiver.attribution.frameworks import Recognisers
from receiver.attribution.partitions import partition_in_path
from receiver.attribution.proof import image_of
from receiver.events import Connection, ConnectionStage, FileChanged, FileOpened, ProcessKey
from receiver.facts.ending import Ending
from receiver.model import Identity
from receiver.observe.attempts import Attempts
from receiver.observe.judging import Judge, is_released, judge_claim
from receiver.text.identity import describe
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Tree, Worker

KEPT_REASONS = 16
LISTENERS = 4096


class Bindings:
    """Connects the recognisers, which only make claims, with the attempts, which only count.

    `drops` counts the claims that had no effect.
    """

    def __init__(
        self,
        tree: Tree,
        facts: Facts,
        attempts: Attempts,
        recognisers: Recognisers,
        *,
        only_commands: bool = False,
        explain: bool = False,
    ) -> None:
        """`only_commands`: only the work inside of a command that kwitness started is bound.
        `explain`: keeps the reasons of all decisions, for `check --explain`.
        """
        self._only_commands = only_commands
        self.tree = tree
        self._facts = facts
        self.attempts = attempts
        self.recognisers = recognisers
        self.judge = Judge(attempts.executions)
        self.drops: Counter[str] = Counter()
        # living processes that name the work of other processes
        self.followed: dict[ProcessKey, None] = {}
        # the recogniser of each decision
        self.reasons: dict[ProcessKey, tuple[str, ...]] = {}
        self._explain = explain
        # the process that listened last on each port
        self._listeners: OrderedDict[int, Worker] = OrderedDict()

    def forked(self, process: Worker, at_ns: int) -> None:
        """Called after it has inherited its parent's work."""
        parent = process.parent
        identity = parent.take_expected() if parent is not None else None
        if identity is not None:
            self._note(process, "its supervisor", identity)
            self._bind(process, identity, at_ns, judged=True)

    def image(self, process: Worker, at_ns: int) -> None:
        """A new image: asks the recognisers what it is."""
        for thread in list(process.steps):  # the threads ended with the old image
            self.attempts.end_step(process, thread, at_ns)
        self._apply(process, self.recognisers.image(process), at_ns)

    def titled(self, process: Worker, at_ns: int) -> None:
        self._apply(process, self.recognisers.titled(process), at_ns)

    def opened(self, process: Worker, event: FileOpened) -> None:
        inside = process.execution is not None and "=" in event.path
        if inside and (partition := partition_in_path(event.path)):
            process.touch_partition(partition)
        self._apply(process, self.recognisers.opened(process, event), event.time_boottime_ns)

    def changed(self, process: Worker, event: FileChanged) -> None:
        self._apply(process, self.recognisers.changed(process, event), event.time_boottime_ns)

    def connected(self, process: Worker, fact: Connection) -> None:
        """A port can join processes without a common ancestor: an executor's command line names its
        driver's port.
        """
        if fact.stage == ConnectionStage.LISTENING:
            self._listeners[fact.local_port] = process
            self._listeners.move_to_end(fact.local_port)
            if len(self._listeners) > LISTENERS:
                self._listeners.popitem(last=False)
                self.drops["forgotten_listener"] += 1

    def process_ended(self, process: Worker, end: Ending, at_ns: int) -> None:
        """Called before its findings are made: the steps of its threads end with it."""
        self.followed.pop(process.key, None)
        torn = {
            id(use.version.work)
            for use in self._facts.files.of(process.key).uses.values()
            if use.version is not None and use.version.writers
        }
        only = list(process.steps) if len(process.steps) == 1 else []
        for thread, step in list(process.steps.items()):
            # Killed at work: its only step, or one that it was writing, was lost. Of several
            # threads, each may have completed the step that it began last.
            interrupted = bool(end.signal) and (thread in only or id(step) in torn)
            self.attempts.end_step(
                process,
                thread,
                at_ns,
                end.error if interrupted else "",
                end="seen" if interrupted else "unknown" if end.failed else "bound",
            )

    def lost(self, process: Worker, at_ns: int) -> None:
        """The process is gone, and its exit was not seen."""
        self.followed.pop(process.key, None)
        for thread in list(process.steps):
            self.attempts.end_step(process, thread, at_ns, end="unknown")

    def forget(self, key: ProcessKey) -> None:
        self.followed.pop(key, None)

    @property
    def need_calls(self) -> bool:
        """Whether a living process names work by the files it opens, or does such work."""
        return bool(self.followed or self.attempts.executions.open)

    def _apply(self, process: Worker, claims: Claims, at_ns: int) -> None:
        for claim in claims:
            target = (claim.process if isinstance(claim, Bind) else None) or process
            # no process makes a claim for another user's process
            if process.uid not in (0, target.uid):
                self.drops["of_another_user"] += 1
                continue
            if target.execution is None and self._only_commands:
                self.drops["outside_the_command"] += 1
                continue
            self._act(process, claim, at_ns)

    def _act(self, process: Worker, claim: Claim, at_ns: int) -> None:
        match claim:
            case Bind():
                target = claim.process or process
                self._note(target, claim.identity.system, claim.identity)
                if not (claim.inner_only and target.execution is None):
                    self._bind(target, claim.identity, at_ns, port=claim.port, opened=claim.opened)
            case Expect():
                self._expect(process, claim)
                self._note(process, "expects", process.expects)
            case Idle():
                process.take_expected()
            case Refine():
                self._refine(process, claim)
            case Begin():
                self._begin(process, claim, at_ns)
            case End():
                for thread in list(process.steps):
                    if claim.thread in (0, thread):
                        self.attempts.end_step(
                            process, thread, at_ns, end="seen" if claim.seen else "bound"
                        )
            case Role():
                process.take_role(claim.name, claim.program_of)
                self._note(process, claim.name, None)
                if claim.watch:
                    self.followed[process.key] = None
                    self.attempts.members.follow(process)
            case Imports():
                service = image_of(process, claim.system)
                if service is not None:
                    service.imports(trusted=claim.trusted)

    def _bind(
        self,
        process: Worker,
        identity: Identity,
        at_ns: int,
        *,
        port: int = 0,
        opened: FileOpened | None = None,
        judged: bool = False,
    ) -> None:
        """`judged`: its supervisor's claim is judged already."""
        execution = self._outer_of(process, port)
        for each in execution.chain() if execution is not None else ():
            if each.identity.agrees(identity):
                return  # known already, from a better or an equal source
        if (
            execution is not None
            and identity.type == "executor"
            and execution.identity.system == identity.system
        ):
            identity = msgspec.structs.replace(identity, pipeline=execution.identity.pipeline)
        if is_released(process, identity):
            self.drops["released"] += 1
            return
        if not judged:
            identity = judge_claim(process, identity, opened)
        identity, rival = self.judge.compared(process, identity, execution)
        if process.exit is not None:
            self.attempts.enter_late(
                process, identity, process.exec_ns or process.key.start_boottime_ns, process.end
            )
            return
        # All descendants inherit an environment, so it names one process of many. Every other fact
        # names the process itself.
        entered = self.attempts.enter(
            process,
            identity,
            at_ns,
            outer=execution,
            holds=identity.source not in ("env", "ambiguous"),
        )
        if entered is not None and rival is not None:
            entered.rival = rival

    def _outer_of(self, process: Worker, port: int) -> Execution | None:
        """The work around a new claim: the work that it does already, or that of the process that
        listens on `port`. A port is no secret, so it counts only between processes of one user, and
        for root's.
        """
        server = self._listeners.get(port) if port else None
        if server is None or server.exit is not None or server.execution is None:
            return process.execution
        if process.uid not in (0, server.uid):
            self.drops["port_of_another_user"] += 1
            return process.execution
        return server.execution

    def _expect(self, process: Worker, claim: Expect) -> None:
        """Its next child; when it existed before the observer started, its youngest one."""
        identity = judge_claim(process, claim.identity, claim.opened)
        process.expect(identity)
        if not claim.begun:
            return
        children = [p for p in self.tree.processes() if p.parent is process and p.exit is None]
        if children:
            process.take_expected()
            youngest = max(children, key=lambda p: p.key.start_boottime_ns)
            self._bind(youngest, identity, youngest.key.start_boottime_ns, judged=True)

    def _refine(self, process: Worker, claim: Refine) -> None:
        for each in process.execution.chain() if process.execution is not None else ():
            identity = each.identity
            if (identity.system, identity.type) != (claim.system, claim.type):
                continue
            better = {
                name: value
                for name in ("pipeline", "run_id", "task", "evidence")
                if (value := getattr(claim, name))
            }
            refined = msgspec.structs.replace(identity, **better)
            if refined != identity:
                self.attempts.rename(each, refined)
                self._note(process, identity.system, refined)
            return

    def _begin(self, process: Worker, claim: Begin, at_ns: int) -> None:
        current = process.steps.get(claim.thread)
        if current is not None and current.identity.agrees(claim.identity):
            return
        if current is not None:
            self.attempts.end_step(process, claim.thread, at_ns)
        if process.execution is not None:
            self._note(process, claim.identity.system, claim.identity)
            self.attempts.begin_step(
                process, judge_claim(process, claim.identity, None), claim.thread, at_ns
            )

    def _note(self, process: Worker, who: str, identity: Identity | None) -> None:
        if not self._explain:
            return
        known = self.reasons.get(process.key, ())
        if len(known) < KEPT_REASONS:
            what = f"{who}: {describe(identity)}" if identity is not None else f"role: {who}"
            if what not in known:
                self.reasons[process.key] = (*known, what)
