"""What the end of a process means to those above it, and who is named for it."""

from __future__ import annotations

import signal

import pytest

from receiver import semconv as sc
from receiver.events import ProcessKey, ProcessSample, StdioKind
from receiver.work.children import ExitSeverity
from tests.builders import Story, attributes

STRANGER, OTHER = ProcessKey(666, 5), ProcessKey(667, 6)
SI_TIMER = -2  # sigaction(2)


def exit_severity_of(story: Story, key: ProcessKey) -> ExitSeverity:
    actor = story.core.casebook.actor(key)
    assert actor is not None
    return actor.exit_severity


def sender_of(story: Story, what: str) -> object:
    (record,) = story.events(sc.EVENT_PROCESS_KILLED)
    return attributes(record).get(what)


@pytest.mark.parametrize(
    ("idle_ms", "exit_severity"), [(1_000, ExitSeverity.LOST_WORK), (3_000, ExitSeverity.STOPPED)]
)
def test_a_service_that_had_nothing_to_do_is_stopped_and_one_at_work_is_killed(
    idle_ms: int, exit_severity: ExitSeverity
) -> None:
    """Two seconds without work are idle. Less is a pause."""
    story = Story()
    root = story.command("python3", "drive.py")
    service = story.spawn(root, "python3", "scheduler.py")
    worker = story.fork(service)
    story.fact(ProcessSample, worker, cpu_runtime_ns=5, threads=1)
    story.step(idle_ms)
    story.fact(ProcessSample, worker, cpu_runtime_ns=5, threads=1)
    for each in (service, worker):
        story.signal(root, each, signal.SIGKILL, comm="python3")
    story.exit(worker, signal=signal.SIGKILL, after_ms=1)
    assert exit_severity_of(story, worker) is exit_severity


@pytest.mark.parametrize(
    ("asked", "exit_severity"), [(True, ExitSeverity.STOPPED), (False, ExitSeverity.LOST_WORK)]
)
def test_the_signal_that_ends_a_process_is_not_also_the_request_before_it(
    asked: bool, exit_severity: ExitSeverity
) -> None:
    """Its parent is gone. An ancestor ends it with SIGTERM: at once, or after another request."""
    story = Story()
    root = story.command("python3", "drive.py")
    service = story.spawn(root, "python3", "scheduler.py")
    worker = story.fork(service)
    story.exit(service, after_ms=10)
    if asked:
        story.signal(root, worker, signal.SIGINT, comm="python3")
    story.signal(root, worker, signal.SIGTERM, comm="python3")
    story.exit(worker, signal=signal.SIGTERM, after_ms=1)
    assert exit_severity_of(story, worker) is exit_severity


@pytest.mark.parametrize(
    ("cpu_ms", "exit_severity"), [(900, ExitSeverity.FAILED), (2, ExitSeverity.ANSWER)]
)
def test_threads_that_wait_for_a_cpu_make_no_answer_of_a_failure(
    cpu_ms: int, exit_severity: ExitSeverity
) -> None:
    """Twenty threads wait for longer than their process lives."""
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "java", "-jar", "rank.jar")
    ms = 1_000_000
    story.exit(step, 1, after_ms=3_000, run_delay_ns=20_000 * ms, cpu_runtime_ns=cpu_ms * ms)
    assert exit_severity_of(story, step) is exit_severity


@pytest.mark.parametrize("answer", [True, False])
def test_an_answer_below_a_failure_is_not_its_culprit(answer: bool) -> None:
    """`grep` that finds nothing inside a step that then fails with 3: the step failed.
    A program that fails inside of it is another matter."""
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "bash", "load.sh")
    inner = story.spawn(step, "grep" if answer else "psql", "x")
    story.exit(inner, 1, after_ms=300)
    story.exit(step, 3, after_ms=300)
    story.exit(root)
    (record,) = story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)
    assert attributes(record)[sc.PROCESS_PID] == (step if answer else inner).tgid


def test_the_last_sender_of_the_fatal_signal_is_named() -> None:
    story = Story()
    root = story.command("python3", "serve.py")
    story.signal(STRANGER, root, signal.SIGTERM, comm="first", handled=1)
    story.signal(OTHER, root, signal.SIGTERM, comm="second")
    story.signal(root, root, signal.SIGTERM, comm="python3")
    story.exit(root, signal=signal.SIGTERM)
    assert sender_of(story, sc.PROCESS_SIGNAL_SENDER_PID) == OTHER.tgid


@pytest.mark.parametrize(("code", "kind"), [(SI_TIMER, "kernel"), (0, "self")])
def test_a_timer_of_its_own_is_the_kernels_signal(code: int, kind: str) -> None:
    story = Story()
    root = story.command("python3", "serve.py")
    story.signal(root, root, signal.SIGALRM, code=code, comm="python3")
    story.exit(root, signal=signal.SIGALRM)
    assert sender_of(story, sc.PROCESS_SIGNAL_SENDER_KIND) == kind


def test_a_success_of_another_command_takes_no_failure_back() -> None:
    """A retry has the same arguments. Another one that runs beside it says nothing about it."""
    story = Story()
    root = story.command("bash", "job.sh")
    other = story.spawn(root, "python3", "load.py", "a")
    story.exit(story.spawn(root, "python3", "load.py", "b"), 3, after_ms=300)
    story.exit(other, after_ms=300)
    story.exit(root)
    assert len(story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)) == 1


@pytest.mark.parametrize("argument", ["b", "a"])
def test_a_failure_after_which_the_parent_went_on_is_not_taken_for_a_masked_one(
    argument: str,
) -> None:
    """It is a retry, or `A || B`, or `A; B`: the kernel does not show which."""
    story = Story()
    root = story.command("bash", "job.sh")
    story.exit(story.spawn(root, "python3", "load.py", "b"), 3, after_ms=300)
    story.exit(story.spawn(root, "python3", "load.py", argument), after_ms=300)
    story.exit(root)
    assert not story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)


@pytest.mark.parametrize("piped", [True, False])
def test_in_a_pipe_the_status_of_the_reader_hides_a_failure(piped: bool) -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step, reader = story.fork(root), story.fork(root)
    story.exec(step, "python3", "step.py", stdout_inode=77, parent=root)
    story.exec(reader, "tail", stdin_inode=77 if piped else 78, stdin_kind=2, parent=root)
    story.exit(step, 3, after_ms=300)
    story.exit(reader)
    story.exit(story.spawn(root, "cp", "a", "b"))
    story.exit(root)
    assert len(story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)) == piped


@pytest.mark.parametrize("kind", [StdioKind.DEVICE, StdioKind.FILE])
def test_the_null_device_and_a_file_are_no_pipe(kind: StdioKind) -> None:
    """Every process that has it open has the same inode: `step > out; cp < out`."""
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "step.py", stdout_inode=5, stdout_kind=kind)
    story.exit(step, 3, after_ms=300)
    story.exit(story.spawn(root, "cp", "a", "b", stdin_inode=5, stdin_kind=kind))
    story.exit(root)
    assert not story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)


@pytest.mark.parametrize("goes_on", [True, False])
def test_what_failed_in_a_part_of_a_shell_failed_in_the_shell(goes_on: bool) -> None:
    """`( step; true )`: the fork ends with 0. What the shell did then decides."""
    story = Story()
    root = story.command("bash", "job.sh")
    part = story.fork(root)
    story.exit(story.spawn(part, "python3", "step.py"), 3, after_ms=300)
    story.exit(part)
    if goes_on:
        story.exit(story.spawn(root, "cp", "a", "b"))
    story.exit(root)
    assert len(story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)) == (not goes_on)


@pytest.mark.parametrize("sender", ["timeout", "bash"])
def test_what_a_time_limit_ended_has_failed(sender: str) -> None:
    """A script that stops its own helper is another matter."""
    story = Story()
    root = story.command("bash", "job.sh")
    above = story.spawn(root, sender, "5")
    step = story.spawn(above, "python3", "step.py")
    story.signal(above, step, signal.SIGTERM, comm=sender)
    story.exit(step, signal=signal.SIGTERM, after_ms=300)
    story.exit(above, 124 if sender == "timeout" else 0)
    story.exit(root)
    found = story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)
    assert len(found) == (sender == "timeout")


def test_who_fails_after_it_stopped_its_helper_has_failed_itself() -> None:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "step.py")
    helper = story.spawn(step, "sleep", "99")
    story.signal(step, helper, signal.SIGTERM)
    story.exit(helper, signal=signal.SIGTERM, after_ms=300)
    story.exit(step, 3)
    story.exit(root)
    assert len(story.events(sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH)) == 1
