"""The exit of a process: a tuple of named phases, applied in order.

A phase reads what earlier phases have left, so the order is part of the result. The table
`PHASES` is the only place that states it: the order itself, and which phases each phase needs
(`after`). tests/test_exits.py breaks each of these rules once and must see another result; phases
that are not ordered by a rule must give the same results in any order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from receiver import semconv as sc
from receiver.attribution.frameworks.base import HelperRole
from receiver.detect import killed, masked_failures, partial_writes
from receiver.detect.deaths import expected_shutdown
from receiver.detect.masked import exit_severity, failure_below, holds_by_fork
from receiver.events import Exit, ProcessKey
from receiver.facts.ending import RUNNING, Ending, decoded
from receiver.investigate.casebook import Casebook
from receiver.model import SHORT_NS, Finding
from receiver.observe.activity import Activity
from receiver.observe.attempts import Attempts
from receiver.observe.bindings import Bindings
from receiver.text.names import signal_name
from receiver.work.children import ExitSeverity
from receiver.work.execution import Execution
from receiver.work.tables import Facts
from receiver.work.worker import Worker


class Departure:
    """One process that has ended, while the phases of its exit are applied."""

    __slots__ = ("end", "event", "execution", "exit_severity", "process")

    def __init__(self, process: Worker, event: Exit) -> None:
        self.process = process
        self.event = event
        self.end: Ending = RUNNING
        self.execution: Execution | None = None
        self.exit_severity = ExitSeverity.SUCCESS


class Exits:
    """Applies the phases. It owns nothing: each phase calls the owner of what it changes."""

    def __init__(
        self,
        *,
        attempts: Attempts,
        bindings: Bindings,
        facts: Facts,
        activity: Activity,
        casebook: Casebook,
        drops: Counter[str],
        report: Callable[[Worker, Finding], None],
        log_exit: Callable[[Worker, Ending, Exit], None],
        emit_span: Callable[[Worker], None],
        drop_attributes: Callable[[ProcessKey], None],
        process_ended: Callable[[Worker], None],
        helpers: Mapping[str, HelperRole],
        every_exit: bool,
        phases: tuple[Phase, ...] = (),
    ) -> None:
        """`drops` counts exits that led to no signal. `process_ended` is called with each process
        that did work. `helpers`: what recognisers declare, by role. `every_exit`: successful exits
        have a log record, too.
        """
        self.attempts = attempts
        self.bindings = bindings
        self.facts = facts
        self.activity = activity
        self.casebook = casebook
        self.drops = drops
        self.report = report
        self.log_exit = log_exit
        self.emit_span = emit_span
        self.drop_attributes = drop_attributes
        self.process_ended = process_ended
        self.helpers = helpers
        self.every_exit = every_exit
        self._steps = tuple((phase.run, phase.attributed) for phase in phases or PHASES)

    def apply(self, process: Worker, event: Exit) -> None:
        """The tree has applied the exit event already.

        A process without work has only the phases of every process.
        """
        departure = Departure(process, event)
        for run, attributed in self._steps:
            if attributed and departure.execution is None:
                # A kill outside of all pipelines is not reported. An OOM kill concerns the whole
                # host, and is reported already.
                self.drops["unattributed"] += 1
                return
            run(self, departure)

    def inherit(self, process: Worker) -> None:
        """A child does its parent's work, until a claim binds it to other work."""
        parent = process.parent
        if process.execution is None and parent is not None and parent.execution is not None:
            self.attempts.members.join(process, parent.execution)


def _inherit(exits: Exits, departure: Departure) -> None:
    """The fork of this process was lost: it did its parent's work all the same."""
    exits.inherit(departure.process)
    departure.execution = departure.process.execution


def _judge(exits: Exits, departure: Departure) -> None:
    """Whether its own framework ended it, as planned. All later phases use this verdict."""
    process = departure.process
    oom_killed = exits.facts.deaths.of(process.key).oom is not None
    end = decoded(departure.event.wait_status, oom_killed=oom_killed)
    if end.code and expected_shutdown(process, end, exits.facts.signals, exits.helpers):
        end = msgspec.structs.replace(end, expected_shutdown=True)
    process.end = departure.end = end


def _end_steps(exits: Exits, departure: Departure) -> None:
    exits.bindings.process_ended(departure.process, departure.end, departure.event.time_boottime_ns)


def _report_death(exits: Exits, departure: Departure) -> None:
    death = killed(departure.process, departure.end, exits.facts.signals)
    if death is not None:
        exits.report(departure.process, death)


def _count_signal(exits: Exits, departure: Departure) -> None:
    end = departure.end
    if end.signal and end.cause != "oom_killed":
        labels = (
            *exits.attempts.labels(departure.execution),
            (sc.PROCESS_SIGNAL_NAME, signal_name(end.signal)),
        )
        exits.attempts.book.add(sc.METRIC_PIPELINE_TASK_SIGNALS, labels)


def _report_torn_files(exits: Exits, departure: Departure) -> None:
    execution = departure.execution
    for torn in partial_writes(departure.process, departure.end, exits.facts):
        for each in execution.chain() if execution is not None else ():
            each.partial_write = True
        exits.report(departure.process, torn)
        cause = dict(torn.facts)[sc.FILE_WRITE_CAUSE]
        exits.attempts.book.add(
            sc.METRIC_PIPELINE_FILE_PARTIAL_WRITES,
            (*exits.attempts.labels(execution), (sc.FILE_WRITE_CAUSE, cause)),
        )


def _report_masked(exits: Exits, departure: Departure) -> None:
    """Failures of its children that its own status 0 hides."""
    process, execution = departure.process, departure.execution
    if departure.end.failed or execution is None:
        return
    children = exits.facts.children.of(process.key)
    for each in execution.chain():
        if each.identity.unreliable_exit_status and holds_by_fork(process, each):
            each.failed_by = failure_below(children) or each.failed_by
            return
    for finding, culprit, lost_work in masked_failures(process, children):
        execution.masked |= lost_work
        exits.report(culprit, finding)


def _log_exit(exits: Exits, departure: Departure) -> None:
    if departure.end.failed or exits.every_exit:
        exits.log_exit(departure.process, departure.end, departure.event)


def _close_tables(exits: Exits, departure: Departure) -> None:
    """Its files and connections have their final state, which can show more failures."""
    exits.activity.process_ended(departure.process, departure.end)


def _tell_parent(exits: Exits, departure: Departure) -> None:
    """The severity of the exit depends on the findings about its death and its files."""
    process, execution = departure.process, departure.execution
    departure.exit_severity = exit_severity(process, exits.facts)
    parent = process.parent
    if (
        parent is not None
        and execution is not None
        and parent.execution is not None
        and parent.execution in execution.chain()
    ):
        exits.facts.children.child_ended(parent, process, departure.exit_severity)


def _account(exits: Exits, departure: Departure) -> None:
    if departure.execution is not None:
        exits.attempts.accounts.account(departure.execution, departure.event)


def _span_or_fold(exits: Exits, departure: Departure) -> None:
    """A span of its own, or a count on the parent (conventions, span rules)."""
    process, execution = departure.process, departure.execution
    short = departure.event.time_boottime_ns - process.key.start_boottime_ns < SHORT_NS
    reported = exits.facts.reported.of(process.key)
    minor = (short or not process.execs) and not departure.end.failed and not reported
    if minor and not process.spanned and (execution is None or process is not execution.root):
        if process.parent is not None:
            exits.facts.children.fold(process.parent, process.key)
        exits.drops["folded"] += 1
        return
    exits.emit_span(process)


def _keep_in_case(exits: Exits, departure: Departure) -> None:
    exits.casebook.process_ended(departure.process, departure.exit_severity)


def _tell_listeners(exits: Exits, departure: Departure) -> None:
    exits.process_ended(departure.process)


def _drop_attributes(exits: Exits, departure: Departure) -> None:
    """An ended process stays known for a while, without its encoded attributes."""
    exits.drop_attributes(departure.process.key)


def _leave_work(exits: Exits, departure: Departure) -> None:
    """Its work may end with it, and its report is made then."""
    if departure.execution is not None:
        exits.attempts.leave(
            departure.process,
            departure.execution,
            departure.event.time_boottime_ns,
            departure.end,
        )


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase. `after`: the phases whose results it needs, or whose records precede its own.

    A phase that such a phase needs in turn is not repeated. `attributed`: only for a process that
    did work; these phases follow those of every process.
    """

    name: str
    run: Callable[[Exits, Departure], None]
    after: tuple[str, ...] = ()
    attributed: bool = True


PHASES: tuple[Phase, ...] = (
    Phase(name="inherit", run=_inherit, attributed=False),
    Phase(name="judge", run=_judge, attributed=False),
    Phase(name="end_steps", run=_end_steps, after=("judge",), attributed=False),
    Phase(name="report_death", run=_report_death, after=("inherit", "end_steps")),
    Phase(name="count_signal", run=_count_signal, after=("inherit", "judge")),
    Phase(name="report_torn_files", run=_report_torn_files, after=("report_death",)),
    Phase(name="report_masked", run=_report_masked, after=("inherit", "end_steps")),
    Phase(name="log_exit", run=_log_exit, after=("report_torn_files", "report_masked")),
    Phase(name="close_tables", run=_close_tables, after=("log_exit",)),
    Phase(name="tell_parent", run=_tell_parent, after=("report_torn_files",)),
    Phase(name="account", run=_account, after=("inherit",)),
    Phase(name="span_or_fold", run=_span_or_fold, after=("close_tables",)),
    Phase(name="keep_in_case", run=_keep_in_case, after=("close_tables", "tell_parent")),
    Phase(name="tell_listeners", run=_tell_listeners, after=("close_tables",)),
    Phase(name="drop_attributes", run=_drop_attributes, after=("span_or_fold",)),
    Phase(
        name="leave_work",
        run=_leave_work,
        after=("account", "span_or_fold", "tell_listeners"),
    ),
)
