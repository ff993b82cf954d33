"""Bytes, files, and the calls that failed on them."""

from __future__ import annotations

from tests.truth.forms import MIB, Scene, form, same_path


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


@form(r"P1 read MIB (?:of|from) F")
def read_of(scene: Scene, p1: str, mib: str, path: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None or "…" in path:
        return None
    seen = life.read_of.get(path, 0) / MIB
    return True if abs(seen - float(mib)) <= 0.1 + 0.02 * float(mib) else None  # or mapped


@form(r"(?P<call>\w+) (?:on|of|for) F was the last call of P1 that failed, with ERROR")
@form(r"(?P<call>exec) of F failed with ERROR")
@form(r"(?P<call>inotify_add_watch) for F failed with ERROR")
@form(r"P1 did not find F which [^(]*\((?P<error>ENOENT)\)")
@form(r"P1 could not create F which [^(]*\((?P<error>EEXIST)\)")
@form(r"P1 could not start F \((?P<error>E[A-Z]+)\)")
@form(r"P1 \(uid \d+\) has no permission for F \((?P<error>E[A-Z]+)\)")
@form(r"P1, with uid \d+, got ERROR on F")
def failed_on(
    scene: Scene, path: str, error: str, p1: str = "", call: str = "", **_: str
) -> bool | None:
    if "…" in path:
        return None
    path = path.rstrip(",")
    life = scene.life(p1) if p1 else None
    lives = [life] if life is not None else [] if p1 else list(scene.strace.lives.values())
    if not lives:
        return None
    return any(
        f.error == error and _same_call(call, f.call) and same_path(path, f.path)
        for each in lives
        for f in each.failures
    )


def _same_call(claimed: str, seen: str) -> bool:
    return not claimed or seen.startswith("exec" if claimed == "exec" else claimed)


@form(r"P1 was refused a lock on F")
@form(r"P1 could not lock F")
def lock_refused(scene: Scene, p1: str, path: str, **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None or "…" in path:
        return None
    return any(
        f.call in ("flock", "fcntl") and f.error in ("EAGAIN", "EACCES") and f.path == path
        for f in life.failures
    )


@form(r"P1 had removed (?:it|F) SECONDS before")
def removed(scene: Scene, p1: str, path: str = "", **_: str) -> bool | None:
    if scene.life(p1) is None:
        return None
    return any(
        pid == int(p1) and (not path or same_path(path.rstrip(","), seen))
        for seen, (_, pid) in scene.strace.removed.items()
    )


@form(r"P1 had F open for writing at that moment")
@form(r"P1 (?:had )?(?:created|put) (?:it|F) (?:in place )?SECONDS (?:before|later)")
def wrote_it(scene: Scene, p1: str, path: str = "", **_: str) -> bool | None:
    life = scene.life(p1)
    if life is None:
        return None
    if not path:
        return True if life.opened_to_write else None
    return True if any(same_path(path.rstrip(","), p) for p in life.opened_to_write) else None
