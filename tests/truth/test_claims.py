"""The witnesses contradict what is not so. Each sentence stands once as it was,
and once changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.truth.check import check
from tests.truth.claims import decide
from tests.truth.forms import Scene
from tests.truth.polls import Group, Polls, Seen
from tests.truth.strace import Witness, read

MIB = 1 << 20
# bash (10) runs python3 (11), which writes, is killed, and has a child (12) that fails
TRACE = """\
10 100.000000 execve("/usr/bin/bash", ["bash", "job.sh"], 0x7ffd /* 3 vars */) = 0
10 100.100000 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>
11 100.110000 execve("/usr/bin/python3", ["python3", "load.py"], 0x7ffd /* 3 vars */) = 0
10 100.120000 <... clone resumed>, child_tidptr=0x7f) = 11
11 100.200000 openat(AT_FDCWD</w>, "/w/out.csv", O_WRONLY|O_CREAT, 0666) = 3</w/out.csv>
11 100.300000 write(3</w/out.csv>, "abc"..., 2097152) = 2097152
11 100.310000 clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD <unfinished ...>
13 100.320000 write(3</w/out.csv>, "abc"..., 1048576) = 1048576
11 100.330000 <... clone resumed>) = 13
11 100.400000 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 12
12 100.500000 openat(AT_FDCWD</w>, "/w/in.csv", O_RDONLY) = -1 EACCES (Permission denied)
12 100.600000 exit_group(3) = ?
12 100.600100 +++ exited with 3 +++
11 100.700000 connect(4<socket:[9]>, {sin_port=htons(5432), sin_addr=inet_addr("127.0.0.1")}, 16) \
= -1 ECONNREFUSED (Connection refused)
11 100.710000 connect(4<socket:[9]>, {sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
11 100.720000 flock(5</w/lock>, LOCK_EX|LOCK_NB) = -1 EAGAIN (Resource temporarily unavailable)
11 100.730000 mkdirat(AT_FDCWD</w>, "made", 0777) = -1 EEXIST (File exists)
11 100.740000 unlink("/w/old.csv") = 0
10 102.000000 kill(11, SIGTERM) = 0
11 102.000100 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=10, si_uid=0} ---
13 102.100000 +++ killed by SIGTERM +++
11 102.100000 +++ killed by SIGTERM +++
10 104.000000 exit_group(0) = ?
10 104.000100 +++ exited with 0 +++
"""


def scene(**report: Any) -> Scene:
    polls = Polls()
    polls.processes[50] = Seen(names={"stranger"}, first=100.0, last=104.0)
    polls.processes[11] = Seen(names={"python3"}, first=100.1, last=102.0, peak_rss=50 * MIB)
    polls.groups["/jobs"] = Group(
        limit=72 * MIB, peak=72 * MIB, members={11: 50 * MIB, 50: 24 * MIB}
    )
    return Scene(witness(), polls, 10, report)


def witness() -> Witness:
    return read(TRACE.splitlines(), 10, 100.0)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("bash (10) exited with status 0.", "bash (10) exited with status 1."),
        ("python3 (11) was killed by SIGTERM.", "python3 (11) was killed by SIGKILL."),
        ("python3 (11) went on.", "java (11) went on."),
        ("load.py (11) went on.", "Python3 (11) went on."),
        ("stranger (50) went on.", "bash (50) went on."),
        (
            "SIGTERM (user) from bash (10, uid 0) ended python3 (11).",
            "SIGTERM (user) from python3 (12, uid 0) ended python3 (11).",
        ),
        ("bash (10) ended python3 (11) with SIGTERM.", "bash (10) ended python3 (11) with SIGHUP."),
        (
            "python3 (11) received SIGTERM from bash (10), and ended.",
            "python3 (12) received SIGTERM from bash (10), and ended.",
        ),
        ("No process sent a signal to bash (10).", "No process sent a signal to python3 (11)."),
        (
            "A time limit of 2.0 s ended python3 (11).",
            "A time limit of 61.3 s ended python3 (11).",
        ),
        (
            "python3 (11) was killed while it was writing /w/out.csv.",
            "python3 (12) was killed while it was writing /w/out.csv.",
        ),
        (
            "python3 (11) had written 3.0 MiB to /w/out.csv.",
            "python3 (11) had written 2.0 MiB to /w/out.csv.",
        ),
        ("python3 (12) got EACCES on /w/in.csv.", "python3 (12) got ENOENT on /w/in.csv."),
        ("memory cgroup /jobs was at 70.1 MiB of 72.0 MiB", "cgroup /jobs (64.0 MiB)"),
        (
            "No event shows a write that failed with ENOSPC.",
            "No event shows a file operation that was denied.",
        ),
        (
            "1 file was written and closed by the writers.",
            "2 files were written and closed by the writers.",
        ),
        ("1 of 3 processes exited with status 0", "2 of 3 processes exited with status 0"),
        (
            "python3 (12) failed, and this was the first failure of the task.",
            "bash (10) failed, and this was the first failure of the task.",
        ),
        ("python3 (12) had failed 1.4 s before.", "bash (10) had failed 1.4 s before."),
        (
            "python3 (12) exited with status 3; bash (10) above it exited with status 0.",
            "python3 (12) exited with status 3; python3 (11) above it exited with status 0.",
        ),
        (
            "python3 (11), forked from bash (10), waits forever for a lock.",
            "bash (10), forked from python3 (11), waits forever for a lock.",
        ),
        ("bash (10) ended it in the end.", "python3 (12) ended it in the end."),
        (
            "stranger (50), which is not part of this run, did it.",
            "python3 (12), which is not part of this run, did it.",
        ),
        (
            "127.0.0.1:5432 refused python3 (11) once.",
            "127.0.0.1:80 refused python3 (11) once.",
        ),
        ("python3 (11) waited 2.0 s for 127.0.0.1:80.", "bash (10) waited 2.0 s for 127.0.0.1:80."),
        (
            "python3 (11) was refused a lock on /w/lock.",
            "python3 (12) was refused a lock on /w/lock.",
        ),
        (
            "mkdirat on /w/made was the last call of python3 (11) that failed, with EEXIST.",
            "mkdirat on /w/made was the last call of python3 (11) that failed, with ENOENT.",
        ),
        (
            "python3 (11) had removed /w/old.csv 2.0 s before.",
            "bash (10) had removed it 2.0 s before.",
        ),
        ("It ended 0.1 s after the signal.", "It ended 9.0 s after the signal."),
        (
            "Its own timer expired 4.0 s after its start, and it exited.",
            "Its own timer expired 20 s after its start, and it exited.",
        ),
        (
            "The task was reported as a success. bash (10) went on.",
            "java (10): The task was reported as a success.",
        ),
        ("python3 (11) grew by 50.0 MiB.", "python3 (11) grew by 80.0 MiB."),
        (
            "The cgroup /jobs was at its limit, not the host. bash (10) went on.",
            "cgroup /jobs (9.0 MiB)",
        ),
        ("No event shows a SIGABRT.", "bash (10) crashed with SIGABRT."),
    ],
)
def test_a_changed_sentence_is_false(true: str, false: str) -> None:
    said = [value for _, value in decide(true, scene())]
    assert True in said and False not in said
    assert False in [value for _, value in decide(false, scene())]


@pytest.mark.parametrize(
    "sentence",
    [
        "No process was killed, and none crashed.",
        (
            "The OOM killer killed python3 (11): its own memory of 50.2 MiB reached the limit of "
            "/jobs (72.0 MiB)."
        ),
        "It then exited with status 77.",
    ],
)
def test_sentences_that_were_untrue_are_found(sentence: str) -> None:
    assert False in [value for _, value in decide(sentence, scene())]


def test_nobody_else_is_denied_by_who_was_there() -> None:
    """A kill without a sender is the kernel's; a stranger held a third of that memory."""
    here = scene()
    life = here.life(11)
    assert life is not None
    life.killed_by = "SIGKILL"
    (said,) = decide("No other process used that memory cgroup.", here)
    assert said[1] is False
    del here.polls.groups["/jobs"].members[50]
    (said,) = decide("No other process used that memory cgroup.", here)
    assert said[1] is True


def test_rows_and_citations_are_checked() -> None:
    row: dict[str, Any] = {
        "pid": 11,
        "name": "python3",
        "end": "killed by SIGTERM",
        "seconds": 2.0,
        "written_bytes": 3 * MIB,
    }
    hypothesis = {
        "summary": "bash (10) ended python3 (11) with SIGTERM.",
        "evidence": ["1-1"],
        "weighed": [],
        "ruled_out": [],
        "fix": {"text": "Do it."},
    }
    report: dict[str, Any] = {
        "summary": "",
        "symptoms": [],
        "normality": [],
        "hypotheses": [hypothesis],
        "answers": {"how_each_ended": [row]},
        "events": {"1-1": {}},
    }
    assert check(scene(**report)).false == []
    wrong: list[dict[str, Any]] = [
        {"seconds": 9.0},
        {"written_bytes": 9 * MIB},
        {"end": "exit 1"},
        {"end": "killed by SIGHUP"},
    ]
    for change in wrong:
        changed = report | {"answers": {"how_each_ended": [row | change]}}
        assert len(check(scene(**changed)).false) == 1
    assert len(check(scene(**(report | {"events": {}}))).false) == 1


def test_a_pid_of_another_namespace_is_the_one_here() -> None:
    lines = [
        "10 100.0 clone3({flags=CLONE_VM|CLONE_THREAD}, 88) = 3 /* 14 in strace's PID NS */",
        '14 100.1 write(1</w/o>, "abc"..., 700) = 700',
        (
            "10 100.2 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, "
            "si_pid=4 /* 15 in strace's PID NS */, si_uid=0} ---"
        ),
    ]
    life = read(lines, 10, 100.0).of(10)
    assert life is not None and life.written == 700
    assert [s.sender for s in life.signals] == [15]


def test_advice_and_reasoning_are_not_undecided() -> None:
    report = {
        "summary": "It snowed.",
        "symptoms": [],
        "normality": [{"text": "It would be a consequence of this cause, and not another one."}],
        "hypotheses": [
            {
                "summary": "It rained for 3 s.",
                "evidence": [],
                "weighed": [],
                "ruled_out": [],
                "fix": {"text": "Do it."},
            }
        ],
        "answers": {"how_each_ended": []},
        "events": {},
    }
    assert check(scene(**report)).undecided == ["It snowed.", "It rained for 3 s."]
