"""What is sent of a process: names, arguments, times; escaped and redacted."""

from __future__ import annotations

from receiver.model import CoreOptions
from tests.builders import MS, WALL_OFFSET_NS, Story, airflow, attributes
from tests.core.host import INIT


def test_a_long_task_sends_heartbeats() -> None:
    story = Story()
    story.spawn(INIT, "bash", environ=airflow())
    for _ in range(5):
        story.tick(30)
    assert len(story.events("pipeline.task.heartbeat")) == 2


def test_a_title_shows_and_a_piece_of_argv_is_none() -> None:
    story = Story()
    root = story.command("worker", "--queue", "a")
    story.title(root, "wor")
    story.title(root, "worker: task 7")
    story.exit(root)
    assert attributes(story.span("worker"))["process.title"] == "worker: task 7"


def test_hostile_names_are_escaped_in_sentences_and_whole_in_attributes() -> None:
    story = Story()
    root = story.command("evil\x1b]0;x\x07\u202e")
    story.open_file(root, "/data/\x1b[2Jout")
    story.exit(root, signal=9)
    for record in story.logs:
        assert not any(ord(c) < 32 or c == "\u202e" for c in record.body)
    assert attributes(story.events("file.partial_write")[0])["file.path"] == "/data/\x1b[2Jout"


def test_argv_is_sent_only_when_asked_for_and_then_redacted() -> None:
    story = Story(CoreOptions(include_argv=True))
    root = story.command("psql", "--password=hunter2", "db")
    story.exit(root)
    assert attributes(story.span("psql"))["process.command_args"] == (
        "psql",
        "--password=[redacted:value]",
        "db",
    )


def test_creation_time_stays_though_the_clock_is_set() -> None:
    story = Story()
    root = story.command("bash")
    story.core.set_wall_offset(WALL_OFFSET_NS + 7 * MS)
    story.exec(root, "python3")
    story.core.set_wall_offset(WALL_OFFSET_NS)
    story.oom(root)
    story.core.set_wall_offset(WALL_OFFSET_NS + 9 * MS)
    story.title(root, "worker: busy")
    story.exit(root, signal=9)
    times = {
        attributes(s)["process.creation.time"]
        for s in story.signals
        if "process.pid" in attributes(s)
    }
    assert len(times) == 1


def test_a_second_image_is_described_by_itself() -> None:
    """Its first image was described in a record already."""
    story = Story()
    root = story.command("bash")
    story.oom(root)
    story.exec(root, "python3")
    story.exit(root, signal=9)
    assert attributes(story.span("python3"))["process.executable.name"] == "python3"
