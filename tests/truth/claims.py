"""Forms of sentences, and how the witnesses decide each.

A form is a regular expression over a part of a sentence. `P1`, `F` and `N` stand for a process, a
path and a number. A decider returns True or False, or None where the witnesses do not tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from tests.truth.polls import Polls
from tests.truth.strace import Life, Witness

MIB = 1 << 20
SLACK_SECONDS, SLACK_SHARE = 0.35, 0.1  # strace delays what it watches
_SEEN_WELL = 1.0  # seconds between the first look at a stranger and the last
_MEMORY_SLACK = 3 * MIB  # between two looks


class Scene(msgspec.Struct):
    """What the witnesses know of one run."""

    strace: Witness
    polls: Polls
    root: int
    report: dict[str, Any] = msgspec.field(default_factory=dict)

    def life(self, pid: str | int) -> Life | None:
        return self.strace.of(int(pid))


Decider = Callable[..., bool | None]
FORMS: list[tuple[re.Pattern[str], Decider]] = []
_PARTS = {
    "P1": r"(?P<n1>[^\s(]+) \((?P<p1>\d+)\)",
    "P2": r"(?P<n2>[^\s(]+) \((?P<p2>\d+)\)",
    "F": r"(?P<path>/\S*[^\s.,:;])",
    "SECONDS": r"(?P<seconds>\d+(?:\.\d+)?) s",
    "CODE": r"(?P<code>\d+)",
    "SIG": r"(?P<sig>SIG[A-Z0-9]+)",
    "MIB": r"(?P<mib>\d+(?:\.\d+)?) MiB",
    "MIC": r"(?P<mic>\d+(?:\.\d+)?) MiB",
}


def form(pattern: str) -> Callable[[Decider], Decider]:
    for name, part in _PARTS.items():
        pattern = re.sub(rf"\b{name}\b", part.replace("\\", r"\\"), pattern)
    compiled = re.compile(pattern)

    def note(decide: Decider) -> Decider:
        FORMS.append((compiled, decide))
        return decide

    return note


def near(claimed: float, seen: float, slack: float = SLACK_SECONDS) -> bool:
    return abs(claimed - seen) <= slack + SLACK_SHARE * max(abs(claimed), abs(seen))


# -- names and ends


@form(r"P1")
def named(scene: Scene, n1: str, p1: str) -> bool | None:
    """The process exists, and was called so."""
    life, seen = scene.life(p1), scene.polls.processes.get(int(p1))
    names = (life.names if life else set()) | (seen.names if seen else set())
    if any(n1.startswith(name[:15]) or name.startswith(n1[:15]) for name in names):
        return True
    if life is None and (seen is None or seen.last - seen.first < _SEEN_WELL):
        return None  # a stranger that the witnesses hardly met: it may have had another image
    return False


@form(r"P1 (?:then )?(?:exited|ended)(?: by itself)? with status CODE")
@form(r"P1 failed: it exited with status CODE")
def exited(scene: Scene, p1: str, code: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None or not life.ended else life.code == int(code)


@form(r"P1 (?:then )?was killed by SIG")
@form(r"P1 crashed with SIG")
@form(r"P1 was killed by SIG: it sent the signal to itself")
def killed(scene: Scene, p1: str, sig: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None or not life.ended else life.killed_by == sig


@form(r"P1 was killed by the OOM killer")
@form(r"OOM killer killed P1")
def oom_killed(scene: Scene, p1: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None or not life.ended:
        return None
    return life.killed_by == "SIGKILL" and not _sent(scene, life, "SIGKILL")


def _sent(scene: Scene, life: Life, name: str) -> list[int]:
    """Pids below our eyes that sent this signal to the process or its group."""
    return [
        pid
        for at, pid, target, word in scene.strace.kills
        if word == name and (abs(target) == life.pid or target <= 0) and at <= life.ended + 0.5
    ]


# -- signals


@form(r"SIG \(user\) from (?P<n1>[^\s(]+) \((?P<p1>\d+), uid \d+\) ended P2")
@form(r"P1 ended P2 with SIG")
@form(r"P1 killed P2")
def ended_by(scene: Scene, p1: str, p2: str, sig: str = "", **_: str) -> bool | None:
    life = scene.life(p2)
    if life is None or not life.ended:
        return None
    senders = {s.sender for s in life.signals if not sig or s.name == sig}
    senders |= set(_sent(scene, life, sig or life.killed_by))
    if int(p1) in senders:
        return True
    return False if scene.life(p1) is not None else None  # a stranger's kill(2) is not traced


@form(r"P1 handled SIG \(user\) from (?P<n2>[^\s(]+) \((?P<p2>\d+), uid \d+\)")
@form(r"P1 received SIG from P2")
def received(scene: Scene, p1: str, p2: str, sig: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None:
        return None
    return any(s.name == sig and s.sender == int(p2) for s in life.signals)


@form(r"No process sent a signal to P1")
def nobody_signalled(scene: Scene, p1: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None:
        return None
    return not any(s.code == "SI_USER" and s.sender != life.pid for s in life.signals)


@form(r"No process was killed, and none crashed")
def nobody_killed(scene: Scene, **_: str) -> bool | None:
    return not any(life.killed_by for life in scene.strace.lives.values())


@form(r"The kernel's OOM killer chose none of its processes")
def no_oom(scene: Scene, **_: str) -> bool | None:
    return not any(
        life.killed_by == "SIGKILL"
        and not _sent(scene, life, "SIGKILL")
        and _is_full(scene, life.pid)
        for life in scene.strace.lives.values()
    )


def _is_full(scene: Scene, pid: int) -> bool:
    return any(
        pid in group.members and group.limit and group.peak > group.limit * 0.97
        for group in scene.polls.groups.values()
    )


# -- times


@form(r"P1 (?:exited with status \d+|was killed by \S+) after SECONDS")
@form(r"P1 reached its own time limit after SECONDS")
@form(r"A time limit of SECONDS ended P1")
@form(r"ended P1 SECONDS after its start")
def lasted(scene: Scene, p1: str, seconds: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None or not life.ended:
        return None
    return near(float(seconds), life.lasted())


# -- bytes


@form(r"P1 .*while it was writing F")
def was_writing(scene: Scene, p1: str, path: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None else life.written_to.get(path, 0) > 0


@form(r"P1 (?:had )?wr(?:ote|itten) MIB to F")
def wrote(scene: Scene, p1: str, mib: str, path: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None:
        return None
    return abs(life.written_to.get(path, 0) / MIB - float(mib)) <= 0.1 + 0.02 * float(mib)


@form(r"P1 got (?P<error>E[A-Z0-9]+)")
@form(r"P1 has no permission for \S+ \((?P<error>E[A-Z0-9]+)\)")
@form(r"P1: \w+ to \S+ failed with (?P<error>E[A-Z0-9]+)")
def call_failed(scene: Scene, p1: str, error: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None else any(f.error == error for f in life.failures)


# -- memory


@form(r"(?:cgroup|limit of) F \(MIB\)")
@form(r"memory cgroup F was at MIC of MIB")
def limit(scene: Scene, path: str, mib: str, **_: str) -> bool | None:
    group = scene.polls.groups.get(path)
    return None if group is None or not group.limit else abs(group.limit / MIB - float(mib)) < 0.1


@form(r"P1.*: its own memory of MIB reached the limit of F \(MIC\)")
def alone_at_the_limit(scene: Scene, p1: str, mib: str, mic: str, **_: str) -> bool | None:
    """The process's own memory is nearly all of it; otherwise something else was in there."""
    return float(mib) >= 0.85 * float(mic)


@form(r"(?:No other process used|[Nn]obody else was in) that memory(?: cgroup)?")
def alone_in_memory(scene: Scene, **_: str) -> bool | None:
    victims = [
        life.pid
        for life in scene.strace.lives.values()
        if life.killed_by == "SIGKILL" and not _sent(scene, life, "SIGKILL")
    ]
    for group in scene.polls.groups.values():
        if any(v in group.members for v in victims):
            others = sum(rss for pid, rss in group.members.items() if pid not in victims)
            return others < max(_MEMORY_SLACK, group.limit * 0.05)
    return None


# -- what no event shows


_DENIED = (
    (r"a write that failed with ENOSPC", ("write", "fallocate"), ("ENOSPC",)),
    (r"a call that failed with EMFILE", (), ("EMFILE", "ENFILE")),
    (r"a clone that failed with EAGAIN", ("clone", "clone3", "fork", "vfork"), ("EAGAIN",)),
    (r"a connect that failed with EADDRNOTAVAIL", ("connect",), ("EADDRNOTAVAIL",)),
    (r"an mmap or brk that failed with ENOMEM", ("mmap", "brk"), ("ENOMEM",)),
    (r"a lock that was refused", ("flock", "fcntl"), ("EAGAIN", "EACCES")),
    (r"a refused connection", ("connect",), ("ECONNREFUSED",)),
    (r"a reset by the peer", (), ("ECONNRESET",)),
    (r"a file operation that was denied", ("open", "openat", "mkdir"), ("EACCES", "EROFS")),
)


@form(r"No event shows (?P<what>.+?)[.,]")
def no_event(scene: Scene, what: str, **_: str) -> bool | None:
    """False where strace saw it fail so. A refused connection may be one of ours of before."""
    lives = scene.strace.lives.values()
    if re.fullmatch(r"a signal of another process that ended it", what):
        return not any(
            s.code == "SI_USER" and s.sender != life.pid for life in lives for s in life.signals
        )
    for text, calls, errors in _DENIED:
        if re.match(text, what):
            return not any(
                f.error in errors and (not calls or f.call.startswith(calls))
                for life in lives
                for f in life.failures
            )
    return None


# -- counts


@form(r"(?P<count>\d+) files? (?:was|were) written and closed by the writers?")
def files_written(scene: Scene, count: str, **_: str) -> bool | None:
    paths = {path for life in scene.strace.lives.values() for path in life.opened_to_write}
    return int(count) <= len(paths)


@form(r"(?P<count>\d+) connections? to (?P<ends>\d+) endpoints? (?:was|were) made, and none failed")
def connections(scene: Scene, **_: str) -> bool | None:
    return not any(
        f.call == "connect" and f.error not in ("EINPROGRESS", "ENOENT", "EAFNOSUPPORT")
        for life in scene.strace.lives.values()
        for f in life.failures
    )


@form(r"(?P<good>\d+) of (?P<all>\d+) processes exited with status 0")
def good_ones(scene: Scene, good: str, **_: str) -> bool | None:
    lives = [life for life in scene.strace.lives.values() if life.ended]
    known = sum(life.code == 0 for life in lives)
    return int(good) <= known  # the report counts fewer: it folds short ones


@form(r"The kernel events show no failure[.:] P1 exited with status 0")
def healthy(scene: Scene, p1: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None or not life.ended else life.code == 0


@form(r"\b[Ii]t (?:then )?(?:exited|ended)(?: by itself)? with status CODE")
def somebody_exited(scene: Scene, code: str, **_: str) -> bool | None:
    """Who "it" is stands elsewhere: so this can only be refuted."""
    ended = [life for life in scene.strace.lives.values() if life.ended]
    return None if any(life.code == int(code) for life in ended) else False


def decide(sentence: str, scene: Scene) -> list[tuple[str, bool | None]]:
    """Each claim of the sentence that has a form: its text, and what the witnesses say."""
    out: list[tuple[str, bool | None]] = []
    for pattern, decider in FORMS:
        for match in pattern.finditer(sentence):
            fields = {k: v for k, v in match.groupdict().items() if v is not None}
            out.append((f"{decider.__name__}: {match[0]}", decider(scene, **fields)))
    return out
