"""Names, ends, signals and times of processes."""

from __future__ import annotations

from tests.truth.forms import Scene, ended_by_itself, failed, form, near, sent
from tests.truth.strace import Life

_SEEN_WELL = 1.0  # seconds between the first look at a stranger and the last
_SHORT = 0.5  # a check that answered with 1 lived no longer


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
    return life.killed_by == "SIGKILL" and not sent(scene, life, "SIGKILL")


# -- signals


@form(r"SIG \(user\) from (?P<n1>[^\s(]+) \((?P<p1>\d+), uid \d+\) ended P2")
@form(r"P1 ended P2 with SIG")
@form(r"P1 killed P2")
def ended_by(scene: Scene, p1: str, p2: str, sig: str = "", **_: str) -> bool | None:
    life = scene.life(p2)
    if life is None or not life.ended:
        return None
    senders = {s.sender for s in life.signals if not sig or s.name == sig}
    senders |= set(sent(scene, life, sig or life.killed_by))
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
        and not sent(scene, life, "SIGKILL")
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


@form(r"It ended SECONDS after the signal")
def ended_after(scene: Scene, seconds: str, **_: str) -> bool | None:
    """Who "it" is stands elsewhere: no process that ended so long after a signal refutes it."""
    spans = [
        life.ended - s.at
        for life in scene.strace.lives.values()
        for s in life.signals
        if life.ended
    ]
    return any(near(float(seconds), span) for span in spans)


@form(r"Its own timer expired SECONDS after its start, and it exited")
@form(r"It had been running for SECONDS, so it was not a short check")
def some_lasted(scene: Scene, seconds: str, **_: str) -> bool | None:
    ended = [life for life in scene.strace.lives.values() if life.ended]
    return any(near(float(seconds), life.lasted()) for life in ended)


# -- failures


@form(r"P1 failed, and this was the first failure of the task")
def first_failure(scene: Scene, p1: str, **_: str) -> bool | None:
    """A short command that answered with status 1 is no failure."""
    life = scene.life(p1)
    if life is None or not life.ended:
        return None
    if not failed(life):
        return False
    before = [
        other
        for other in scene.strace.lives.values()
        if failed(other)
        and other.ended < life.ended - 0.05
        and not (other.code == 1 and other.lasted() < _SHORT)
        and not any(s.code == "SI_USER" for s in other.signals)
    ]
    return not before or None  # somebody may have tried it again


@form(r"P1 failed before the task did")
@form(r"P1 failed, and this was in the chain that failed the task")
@form(r"P1, which had not failed by itself")
@form(r"P1 had failed SECONDS before")
def it_failed(scene: Scene, p1: str, **_: str) -> bool | None:
    life = scene.life(p1)
    return None if life is None or not life.ended else failed(life)


@form(r"The task was reported as a success")
@form(r"and the task reported success")
def task_succeeded(scene: Scene, **_: str) -> bool | None:
    """The status is that of the held shell, which became the command."""
    life = scene.life(scene.root)
    return None if life is None or not life.ended else life.code == 0


@form(
    r"P1 exited with status \d+[,;] (?:but )?P2(?: above it)? "
    r"(?:exited with status 0|reported success)"
)
def swallowed(scene: Scene, p1: str, p2: str, **_: str) -> bool | None:
    below, above = scene.life(p1), scene.life(p2)
    if below is None or above is None or not above.ended:
        return None
    return failed(below) and above.code == 0 and int(p2) in _above(scene, below)


def _above(scene: Scene, life: Life) -> list[int]:
    found: list[int] = []
    at: Life | None = life
    while at is not None and at.parent and at.parent not in found:
        found.append(at.parent)
        at = scene.life(at.parent)
    return found


@form(r"P1, forked from P2, waits forever for a lock")
@form(r"P1 was stopped by SIGSTOP of P2 and not continued")
def never_ended(scene: Scene, p1: str, **_: str) -> bool | None:
    """What ended well by itself did not wait for ever."""
    life = scene.life(p1)
    return None if life is None or not life.ended else not ended_by_itself(scene, life)


@form(r"P1 was stopped by SIG of P2")
def stopped(scene: Scene, p1: str, p2: str, sig: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None:
        return None
    senders = [s.sender for s in life.signals if s.name == sig] + sent(scene, life, sig)
    return bool(life.stops or senders) and (int(p2) in senders or scene.life(p2) is None)


@form(r"SIG \(user\) from (?P<n1>[^\s(]+) \((?P<p1>\d+), uid \d+\) ended it")
def somebody_ended(scene: Scene, p1: str, sig: str, **_: str) -> bool | None:
    """Who "it" is stands elsewhere."""
    senders = {
        s.sender for life in scene.strace.lives.values() for s in life.signals if s.name == sig
    }
    senders |= {pid for _, pid, _, word in scene.strace.kills if word == sig}
    if int(p1) in senders:
        return True
    return False if scene.life(p1) is not None else None


@form(r"P1 ended it in the end")
@form(r"P1 sent a signal to \d+ processes of the group at the same time")
@form(r"P1 ended the process group of P2")
@form(r"P1 sent the signal; the kernel did not")
def sent_something(scene: Scene, p1: str, **_: str) -> bool | None:
    """A stranger's kill(2) is not traced; its targets are."""
    lives = scene.strace.lives.values()
    if any(pid == int(p1) for _, pid, _, _ in scene.strace.kills):
        return True
    if any(s.sender == int(p1) for life in lives for s in life.signals):
        return True
    return False if scene.life(p1) is not None else None


@form(r"The sender had started these processes itself")
@form(r": the sender is its own supervisor")
def sender_is_above(scene: Scene, **_: str) -> bool | None:
    """Only refuted where nobody was ended by a process above it."""
    for life in scene.strace.lives.values():
        senders = {s.sender for s in life.signals} | set(sent(scene, life, life.killed_by))
        if senders & set(_above(scene, life)):
            return True
    return None if any(life.signals for life in scene.strace.lives.values()) else False


@form(r"P1, which is not part of this run")
@form(r"P1, which does not belong to the task")
@form(r"P1 \(not part of this run\)")
@form(r"Not part of this run, in the same memory: P1")
def stranger(scene: Scene, p1: str, **_: str) -> bool | None:
    return scene.life(p1) is None


@form(r"P1 had (?P<count>\d+) (?:threads|processes or threads)\b")
@form(r"P1 was forked, without an exec, from a process that had (?P<count>\d+) threads")
def had_threads(scene: Scene, p1: str, count: str, **_: str) -> bool | None:
    life, seen = scene.life(p1), scene.polls.processes.get(int(p1))
    if life is None:
        return None
    most = max([life.threads_at_most, *(seen.threads if seen is not None else ())])
    return True if most >= int(count) else None  # children count as well, where a limit was hit
