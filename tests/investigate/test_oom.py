"""OOM kills: who held the memory at that moment, and which sentences follow from it."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from receiver.events import LookFlag, MemberFlag, OomKill, OomMember, OomMemory, ProcessKey
from receiver.investigate.report import Hypothesis, Report
from receiver.units import MIB
from tests.builders import Story
from tests.investigate.telling import report_of

STRANGER = ProcessKey(77, 5)
LIMIT = 72 * MIB


def choose(
    story: Story,
    victim: ProcessKey,
    held: dict[ProcessKey, int],
    *,
    mapped: int = 0,
    shared: int = 0,
    flags: LookFlag = LookFlag.PARTS_KNOWN,
    unnamed: int = 0,
) -> None:
    """The kernel half's look at a full cgroup, and the OOM killer's choice.
    `held` are anonymous MiB; `mapped` MiB the victim had asked for above that."""
    anon = sum(held.values()) * MIB
    story.say(
        OomMemory,
        victim=victim,
        memory_cgroup_id=2,
        limit_bytes=LIMIT,
        usage_bytes=LIMIT,
        anon_list_bytes=anon + shared * MIB,
        file_list_bytes=0,
        unevictable_bytes=0,
        kernel_bytes=LIMIT - anon - shared * MIB,
        anon_bytes=anon,
        file_bytes=0,
        shmem_bytes=0,
        swap_bytes=0,
        members=len(held) + unnamed,
        named=len(held),
        groups=1,
        look_flags=int(flags),
    )
    for process, mib in held.items():
        own = process == victim
        story.say(
            OomMember,
            process=process,
            victim=victim,
            anon_bytes=mib * MIB,
            file_bytes=5 * MIB,
            shmem_bytes=0,
            swap_bytes=0,
            private_bytes=(mib + (mapped if own else 0)) * MIB,
            memory_cgroup_id=2,
            uid=0,
            oom_score_adj=0,
            member_flags=int(MemberFlag.VICTIM | MemberFlag.TRIGGER) if own else 0,
            comm="greedy",
        )
    kill(story, victim, held[victim] * MIB)


def kill(story: Story, victim: ProcessKey, anon_bytes: int) -> None:
    """The choice: the victim is also who asked for more."""
    story.say(
        OomKill,
        victim=victim,
        trigger=victim,
        anon_rss_bytes=anon_bytes,
        file_rss_bytes=5 * MIB,
        shmem_rss_bytes=0,
        limit_bytes=LIMIT,
        usage_bytes=LIMIT,
        host_total_bytes=8 << 30,
        host_free_bytes=1 << 30,
        memory_cgroup_id=2,
        scope=1,
        oom_score_adj=0,
        victim_comm="python3",
        trigger_comm="python3",
        memory_cgroup="/jobs",
        victim_cgroup="/jobs",
    )


def killed(held: int, others: dict[ProcessKey, int], **look: Any) -> Report:
    story = Story()
    root = story.command("bash", "job.sh")
    step = story.spawn(root, "python3", "step.py")
    choose(story, step, {step: held} | others, **look)
    story.exit(step, signal=signal.SIGKILL)
    story.exit(root, 137)
    return report_of(story)


def texts(lead: Hypothesis) -> str:
    return "\n".join([lead.summary, *(w.text for w in lead.weighed)])


def test_a_stranger_is_named_with_its_share_though_it_did_not_grow() -> None:
    lead = killed(44, {STRANGER: 26}).hypotheses[0]
    assert (lead.cause, lead.culprit.name) == ("mem.cgroup_oom", "step.py")
    assert "greedy (77), which is not part of this run, held 26.0 MiB" in lead.summary
    assert "44.0 MiB were anonymous memory of python3" in texts(lead)
    assert "no sample shows a growth of it" in texts(lead)
    assert "Without the 26.0 MiB of others, it would have fitted at that moment." in texts(lead)


def test_without_a_stranger_all_members_belong_to_the_run() -> None:
    found = texts(killed(70, {}).hypotheses[0])
    assert "All processes in that memory belong to this run." in found
    assert "not part of this run" not in found.lower()


@pytest.mark.parametrize(
    ("flags", "unnamed"),
    [
        (LookFlag.PARTS_KNOWN | LookFlag.CUT, 0),
        (LookFlag.PARTS_KNOWN | LookFlag.SKIPPED, 0),
        (LookFlag.PARTS_KNOWN, 3),
    ],
)
def test_nothing_is_denied_that_was_not_looked_at(flags: LookFlag, unnamed: int) -> None:
    """The look was cut short, or some members were too small to be named: they may be anybody's."""
    found = texts(killed(70, {}, flags=flags, unnamed=unnamed).hypotheses[0])
    assert "All processes in that memory belong to this run." not in found


def test_a_stranger_that_holds_most_is_the_culprit_without_any_growth() -> None:
    """The near miss is the first test: there the run itself held more."""
    lead = killed(10, {STRANGER: 60}).hypotheses[0]
    assert (lead.cause, lead.culprit.pid) == ("mem.cgroup_neighbour", STRANGER.tgid)
    assert "held 60.0 MiB" in lead.summary
    assert "grew" not in lead.summary


def test_what_was_asked_for_and_not_used_yet_was_missing() -> None:
    lead = killed(70, {}, mapped=30).hypotheses[0]
    found = texts(lead)
    assert "had asked for 30.0 MiB of private memory that it did not use yet" in found
    assert "102.0 MiB are needed: 30.0 MiB more than the limit of 72.0 MiB" in found
    assert "memory.max of /jobs from 72.0 MiB to at least 128.0 MiB" in lead.fix.text


def test_files_in_a_tmpfs_are_told_by_what_no_process_holds() -> None:
    report = killed(20, {}, shared=50)
    lead = report.hypotheses[0]
    assert lead.cause == "mem.shm_full"
    assert "files in a tmpfs held 50.0 MiB of 72.0 MiB" in texts(lead)


def test_a_second_choice_of_the_same_victim_adds_nothing() -> None:
    story = Story()
    step = story.command("python3", "step.py")
    choose(story, step, {step: 44, STRANGER: 26})
    choose(story, step, {step: 1})
    assert len(story.core.facts.deaths.of(step).members) == 2
    assert story.core.facts.deaths.drops["repeated_oom_member"] == 1
