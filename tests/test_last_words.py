"""Where the Python frames of a process that a signal ended are told."""

from __future__ import annotations

import signal
from typing import Any

from receiver import semconv as sc
from receiver.events import ProcessKey, PythonFlag, PythonStack
from receiver.investigate.report import Report
from tests.builders import Story, attributes
from tests.investigate.telling import report_of

FRAMES = (
    *("wait", "/usr/lib/python3.11/threading.py", "320"),
    *("load_partition", "/srv/etl.py", "42"),
    *("run_day", "/srv/etl.py", "61"),
    *("<module>", "/srv/etl.py", "70"),
)
PLACE = "load_partition (etl.py:42), called from run_day (etl.py:61)"


def killed(
    number: int = signal.SIGKILL, flags: int = PythonFlag.ALONE, frames: tuple[str, ...] = FRAMES
) -> tuple[Story, ProcessKey]:
    story = Story()
    root = story.command("bash", "run.sh")
    step = story.spawn(root, "python3", "etl.py")
    story.signal(root, step, number, comm="bash")
    told: dict[str, Any] = {"thread": step.tgid, "signal": number, "version": 0x030B}
    story.fact(PythonStack, step, frames=frames, python_flags=flags, **told)
    story.exit(step, signal=number)
    story.exit(root, 128 + number)
    return story, step


def evidence(report: Report) -> list[str]:
    return [line.text for line in report.hypotheses[0].weighed if line.role == "context"]


def test_the_finding_the_exit_and_the_span_say_where_it_was() -> None:
    story, _ = killed()
    story.finish()
    span = next(s for s in story.spans if attributes(s).get(sc.CODE_FUNCTION_NAME))
    (finding,), exits = story.events(sc.EVENT_PROCESS_KILLED), story.events(sc.EVENT_PROCESS_EXIT)
    for record in (finding, exits[0], span):
        found = attributes(record)
        assert found[sc.CODE_FUNCTION_NAME] == "load_partition"
        assert (found[sc.CODE_FILE_PATH], found[sc.CODE_LINE_NUMBER]) == ("/srv/etl.py", 42)
        assert str(found[sc.CODE_STACKTRACE]).splitlines()[-1].endswith("line 320, in wait")
    assert str(finding.body).endswith(f" It was in {PLACE}.")
    assert sc.CODE_FUNCTION_NAME not in attributes(exits[1])  # of the shell, which only exited


def test_the_report_says_where_it_was_and_cites_the_event() -> None:
    story, step = killed()
    report = report_of(story)
    assert evidence(report) == [f"python3 ({step.tgid}) was in {PLACE}."]
    (cited,) = (e for e in report.events.values() if e["kind"] == "python_stack")
    assert cited["pid"] == step.tgid and "load_partition (etl.py:42)" in str(cited["text"])


def test_of_threads_that_waited_the_main_one_speaks_and_is_named_so() -> None:
    story, step = killed(flags=PythonFlag.MAIN_THREAD)
    assert evidence(report_of(story)) == [
        f"The main thread of python3 ({step.tgid}) was in {PLACE}."
    ]


def test_a_line_that_is_not_known_is_not_made_up() -> None:
    story, _ = killed(frames=("load", "/srv/etl.py", "0"))
    story.finish()
    found = attributes(story.events(sc.EVENT_PROCESS_KILLED)[0])
    assert sc.CODE_LINE_NUMBER not in found and found[sc.CODE_FUNCTION_NAME] == "load"


def test_without_a_frame_nothing_is_said() -> None:
    story, _ = killed(flags=PythonFlag.DAMAGED, frames=())
    assert evidence(report_of(story)) == []
    story.finish()
    assert sc.CODE_FUNCTION_NAME not in attributes(story.events(sc.EVENT_PROCESS_KILLED)[0])


def test_of_several_threads_the_one_that_ran_python_code_is_kept() -> None:
    story = Story()
    root = story.command("bash", "run.sh")
    step = story.spawn(root, "python3", "etl.py")
    story.signal(root, step, 9, comm="bash")
    for thread, flags, name in (
        (2, PythonFlag.HOLDS_LOCK, "busy"),
        (1, PythonFlag.MAIN_THREAD, "idle"),
    ):
        story.fact(
            PythonStack, step, thread=thread, python_flags=flags, frames=(name, "/srv/a.py", "1")
        )
    story.exit(step, signal=9)
    story.exit(root, 137)
    assert evidence(report_of(story)) == [f"python3 ({step.tgid}) was in busy (a.py:1)."]
