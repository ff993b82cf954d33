"""The user's own rules, and recognisers that are broken."""

from __future__ import annotations

import os

import pytest

from receiver import semconv as sc
from receiver.attribution.frameworks import RECOGNISERS, Recognisers
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.rules import Rule
from receiver.model import NOBODY
from receiver.observe.core import Core
from receiver.work.worker import Worker
from tests.attribution.airflow_logs import of
from tests.builders import HOST, Story, attributes


class Broken(Recogniser):
    name = "broken"
    every_image = True

    def image(self, process: Worker) -> tuple[()]:
        raise RuntimeError("a bug")


def test_a_broken_recogniser_is_switched_off_and_the_others_go_on() -> None:
    story = Story()
    story.core.recognisers = story.core.bindings.recognisers = Recognisers((Broken(), *RECOGNISERS))
    assert of(story, story.spawn(NOBODY, "dbt", "run")) == [("job", "dbt run")]
    story.spawn(NOBODY, "dbt", "run")
    assert story.core.recognisers.broken == {"broken": 1}
    drops = next(m for m in story.core.metrics() if m.name == sc.METRIC_PIPELINE_OBSERVER_DROPS[0])
    assert ((sc.PIPELINE_OBSERVER_LOSS_REASON, "broken_recogniser_broken"),) in [
        p.attributes for p in drops.points
    ]


@pytest.mark.parametrize("argv", [(), ("",), ("-",)], ids=["none", "empty", "dash"])
def test_a_program_without_arguments_breaks_no_recogniser(argv: tuple[str, ...]) -> None:
    """execve(2) takes an empty list, and a recording of a command has no arguments of other
    processes."""
    story = Story()
    names = sorted({name for r in RECOGNISERS for name in r.programs})
    assert len(names) > 20
    for name in names:
        parent = story.fork(NOBODY)
        for key in (parent, story.fork(parent)):
            story.exec(key, "x", argv=argv, argc=len(argv), comm=name, executable=f"/bin/{name}")
            story.opens(key, f"/x/{name}/compute_logs/a=b", os.O_WRONLY | os.O_CREAT)
    assert not story.core.recognisers.broken


def with_rules(*rules: Rule) -> Story:
    story = Story()
    story.core = Core(HOST, None, rules)
    return story


def test_rules_of_the_user_come_first() -> None:
    rule = Rule(
        system="loader",
        pipeline="landing",
        task="load {0}",
        run="{LOADER_JOB}",
        environment="LOADER_JOB",
    )
    story = with_rules(
        rule,
        Rule(system="loader", pipeline="by name", executable="/usr/bin/load*"),
        Rule(system="loader", pipeline="by path", path="/landing/*"),
    )
    assert of(story, story.spawn(NOBODY, "python", environ=("LOADER_JOB=77",))) == [
        ("task", "load 77")
    ]
    assert of(story, story.spawn(NOBODY, "loader9")) == [("job", "loader9")]
    writer = story.spawn(NOBODY, "cp")
    story.opens(writer, "/landing/x.csv")
    assert of(story, writer) == []
    story.opens(writer, "/landing/x.csv", os.O_WRONLY)
    assert of(story, writer) == [("job", "cp")]


def steps_of_one_task(*ends: tuple[str, bool]) -> Story:
    """A script that nobody knows runs the commands of one task one after another:
    (its argument, whether it is OOM-killed)."""
    story = with_rules(
        Rule(
            system="loader",
            pipeline="landing",
            task="transform",
            run="{LOADER_JOB}",
            environment="LOADER_JOB",
        )
    )
    script = story.spawn(NOBODY, "bash", "nightly.sh")
    for date, killed in ends:
        step = story.spawn(script, "python", "transform.py", date, environ=("LOADER_JOB=77",))
        if killed:
            story.oom(step)
        story.exit(step, signal=9 if killed else 0, after_ms=400)
    story.tick(10)
    return story


def test_a_task_of_several_commands_fails_with_any_of_them() -> None:
    story = steps_of_one_task(("14", False), ("15", True), ("16", False))
    task = story.span("task transform")
    assert (
        attributes(task)[sc.PIPELINE_TASK_RUN_RESULT] == "failure"
        and attributes(task)[sc.ERROR_TYPE] == "oom_killed"
    )
    (opened,) = story.events(sc.EVENT_PIPELINE_INCIDENT_OPENED)
    assert attributes(opened)[sc.PIPELINE_INCIDENT_CAUSE] == "mem.cgroup_oom"


def test_a_command_that_is_repeated_with_success_was_a_retry() -> None:
    story = steps_of_one_task(("14", False), ("15", True), ("15", False))
    assert attributes(story.span("task transform"))[sc.PIPELINE_TASK_RUN_RESULT] == "success"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule(system="s", pipeline="p"), "matches nothing"),
        (Rule(system="s", pipeline="p", environment="my-job"), "no name of a variable"),
        (Rule(system="s", pipeline="p", environment="DB_PASSWORD"), "a secret"),
        (Rule(system=" ", pipeline="p", argv="x"), "system must not be empty"),
        (Rule(system="s", pipeline="p", argv="x", task="{JOB}"), "is not what the rule matches"),
    ],
)
def test_rules_that_cannot_work_are_told(rule: Rule, problem: str) -> None:
    assert problem in rule.problem()
