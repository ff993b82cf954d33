"""Sentences that deny something, and counts."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.truth.forms import Scene, failed, form
from tests.truth.strace import Life

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


def _nobody(of: Callable[[Life], bool]) -> Callable[[Scene], bool | None]:
    return lambda scene: not any(of(life) for life in scene.strace.lives.values())


def _hardly(of: Callable[[Life], bool]) -> Callable[[Scene], bool | None]:
    """One that is so confirms the sentence by its absence, and does not refute it."""
    return lambda scene: _nobody(of)(scene) or None


def _no_siblings(scene: Scene) -> bool | None:
    """Of several children of one parent, none moved more than twice the others' bytes."""
    families: dict[int, list[Life]] = {}
    for life in scene.strace.lives.values():
        families.setdefault(life.parent, []).append(life)
    for family in families.values():
        for moved in ([life.read for life in family], [life.written for life in family]):
            moved.sort()
            if len(moved) > 1 and moved[-1] > max(1 << 20, 2 * moved[-2]):
                return None
    return True


def _all_young(scene: Scene) -> bool | None:
    """Nobody was throttled or waited for storage, where nobody was looked at in that state."""
    return True if not any(seen.blocked for seen in scene.polls.processes.values()) else None


_SHOWN: tuple[tuple[str, Callable[[Scene], bool | None]], ...] = (
    (
        r"an exec that failed",
        _hardly(lambda life: any(f.call.startswith("execve") for f in life.failures)),
    ),
    (r"a SIGABRT", _nobody(lambda life: life.killed_by == "SIGABRT")),
    (
        r"a SIGSEGV or SIGBUS that it caused itself",
        _nobody(lambda life: life.killed_by in ("SIGSEGV", "SIGBUS")),
    ),
    (r"a SIGBUS", _nobody(lambda life: life.killed_by == "SIGBUS")),
    (r"a tmpfs that was full", _hardly(lambda life: life.killed_by == "SIGBUS" or _full(life))),
    (r"a SIGPIPE after", _nobody(lambda life: life.killed_by == "SIGPIPE")),
    (
        r"a reader that finished before the writer",
        _hardly(lambda life: any(s.name == "SIGPIPE" for s in life.signals)),
    ),
    (
        r"a timer or a timeout command that ended it",
        _hardly(lambda life: life.code == 124 or "timeout" in life.names),
    ),
    (
        r"a signal that was handled",
        _hardly(lambda life: life.code == 0 and any(s.code == "SI_USER" for s in life.signals)),
    ),
    (
        r"an exit or an abort by itself at its heap limit",
        _hardly(lambda life: failed(life) and not _is_ended(life)),
    ),
    (
        r"SYNs without an answer",
        _hardly(
            lambda life: any(
                "EINPROGRESS" in e or "ETIMEDOUT" in e for e in life.connected.values()
            )
        ),
    ),
    (
        r"a late answer to its supervisor",
        _hardly(lambda life: bool(life.connected) and _is_ended(life)),
    ),
    (r"an idle time before the connection broke", _hardly(lambda life: bool(life.connected))),
    (r"a silent database while", _hardly(lambda life: bool(life.connected))),
    (r"connections that were all in use at once", _hardly(lambda life: len(life.connected) > 0)),
    (
        r"a request that was acknowledged and not answered",
        _hardly(lambda life: bool(life.connected)),
    ),
    (r"a call to a token service while", _hardly(lambda life: bool(life.connected))),
    (
        r"a query to a name server without",
        _hardly(lambda life: any(e.endswith(":53") for e in life.connected)),
    ),
    (
        r"a path that (?:existed|did not exist) in the last call that failed",
        _hardly(lambda life: failed(life) and bool(life.failures)),
    ),
    (r"probes that were ended at the same age", _hardly(lambda life: _is_ended(life))),
    (
        r"one sender that signals the whole group",
        _hardly(lambda life: sum(s.code == "SI_USER" for s in life.signals) > 0),
    ),
    (
        r"a SIGKILL by a process while its memory was growing",
        _hardly(lambda life: life.killed_by == "SIGKILL" and bool(life.signals)),
    ),
    (r"a failed child below a parent that reported success", _hardly(failed)),
    (r"one worker with several times the bytes of its siblings", _no_siblings),
    (r"threads that waited for storage in uninterruptible sleep", _all_young),
)


def _full(life: Life) -> bool:
    return any(f.error == "ENOSPC" for f in life.failures)


def _is_ended(life: Life) -> bool:
    """By somebody's signal."""
    return bool(life.killed_by) or any(s.code == "SI_USER" for s in life.signals)


@form(r"No event shows (?P<what>.+?)[.,]")
def no_event(scene: Scene, what: str, **_: str) -> bool | None:
    """False where strace saw it fail so. A refused connection may be one of ours of before."""
    lives = scene.strace.lives.values()
    if re.fullmatch(r"a signal of another process that ended it", what):
        return not any(
            s.code == "SI_USER" and s.sender != life.pid for life in lives for s in life.signals
        )
    for text, shown in _SHOWN:
        if re.match(text, what):
            return shown(scene)
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
    """Standard output may be a file, too, that nobody of the run opened."""
    opened, inherited, opens = set[str](), set[str](), 0
    for life in scene.strace.lives.values():
        opened |= life.opened_to_write
        inherited |= {p for p in life.written_to if p.startswith("/")}
        opens += life.opens_to_write
    return int(count) <= opens + len(inherited - opened)


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
