"""Memory of processes and of cgroups."""

from __future__ import annotations

from tests.truth.forms import MEMORY_SLACK, MIB, Scene, form, sent


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
        if life.killed_by == "SIGKILL" and not sent(scene, life, "SIGKILL")
    ]
    for group in scene.polls.groups.values():
        if any(v in group.members for v in victims):
            others = sum(rss for pid, rss in group.members.items() if pid not in victims)
            return others < max(MEMORY_SLACK, group.limit * 0.05)
    return None


@form(r"P1 grew by MIB")
@form(r"P1 had grown by MIB")
@form(r"P1, which held MIB")
@form(r"P1, in the same memory cgroup, held MIB")
@form(r"it held MIB")
@form(r"P1 itself held MIB")
def held(scene: Scene, mib: str, p1: str = "", **_: str) -> bool | None:
    """Refuted where no look found nearly as much. A stranger is looked at now and then."""
    peaks = {pid: seen.peak_rss for pid, seen in scene.polls.processes.items()}
    most = peaks.get(int(p1)) if p1 else max(peaks.values(), default=None)
    if most is None:
        return None
    if most >= float(mib) * MIB - MEMORY_SLACK:
        return True
    life = scene.life(p1) if p1 else None
    return False if life is not None and life.lasted() > 1 else None


@form(r"No sample shows another process in that memory cgroup")
def no_sample_of_another(scene: Scene, **_: str) -> bool | None:
    return alone_in_memory(scene) or None  # who came and went was in no sample


@form(r"The cgroup F was at its limit, not the host")
def at_its_limit(scene: Scene, path: str, **_: str) -> bool | None:
    """Memory may fill, and be free again, between two looks."""
    group = scene.polls.groups.get(path)
    full = group is not None and group.limit and group.peak >= 0.9 * group.limit
    return True if full else None
