"""Who held the memory that was full, in numbers that add up, and how much was missing."""

from __future__ import annotations

import msgspec

from receiver.events import LookFlag, OomMemory
from receiver.facts.neighbours import Competitor
from receiver.investigate.case import Case
from receiver.investigate.evidence import Evidence, Fact, context, fact
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import counted, mib
from receiver.units import MIB

_NAMED = 4  # processes in one sentence
_SMALL = MIB // 10  # bytes that are not worth a part of a sentence


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """The memory that was full, as the kernel half saw it when the OOM killer chose.

    The victim is the first of `holders`; the others follow, the largest first.
    """

    memory: OomMemory
    holders: tuple[Competitor, ...]
    strangers: tuple[Competitor, ...]  # of these, the ones that are not part of the run

    @property
    def complete(self) -> bool:
        """Whether all processes of that memory were counted."""
        return not self.memory.look_flags & (LookFlag.CUT | LookFlag.SKIPPED)

    @property
    def shared_bytes(self) -> int:
        """Shared memory and files in a tmpfs: pages on the lists that are no process's own."""
        if not self.memory.look_flags & LookFlag.PARTS_KNOWN or not self.complete:
            return 0
        return max(0, self.memory.anon_list_bytes - self.memory.anon_bytes)

    @property
    def stranger_bytes(self) -> int:
        return sum(_own_pages(t) for t in self.strangers)

    @property
    def asked_bytes(self) -> int:
        """What the processes of the run had mapped privately, and did not use yet."""
        return sum(_unused(t) for t in self.holders if t not in self.strangers)


def shares_of(case: Case, victim: ProcessSnapshot) -> Shares | None:
    """Returns None where the kernel half did not look, as in an older recording."""
    memory = victim.full_memory
    holders = tuple(t for t in victim.cgroup_processes if t.member is not None)
    if memory is None or not holders:
        return None
    strangers = tuple(t for t in holders if t.key is None or case.get(t.key) is None)
    return Shares(memory=memory, holders=holders, strangers=strangers)


def held_text(victim: ProcessSnapshot, shares: Shares | None) -> str:
    """Says what the victim and the largest strangers held, as a part of a sentence."""
    if shares is None:
        return ""
    parts = [f"it held {mib(shares.holders[0].rss_bytes)}"]
    for stranger in [t for t in shares.strangers if t.key != victim.key][:2]:
        parts.append(
            f"{_name(stranger)}, which is not part of this run, held {mib(stranger.rss_bytes)}"
        )
    return ", and ".join(parts)


def shares_evidence(victim: ProcessSnapshot, shares: Shares | None) -> list[Evidence]:
    """Returns the parts of the memory, and how much was missing, as context."""
    if shares is None:
        return []
    missing = _missing(victim, shares) if shares.memory.memory_cgroup_id else []
    return [_parts(victim, shares), *missing, *_strangers(victim, shares)]


def _parts(victim: ProcessSnapshot, shares: Shares) -> Evidence:
    memory = shares.memory
    parts = []
    for holder in shares.holders[:_NAMED]:
        foreign = holder in shares.strangers and holder.key != victim.key
        whose = f"{_name(holder)}{' (not part of this run)' if foreign else ''}"
        parts.append(f"{mib(_own_pages(holder))} were anonymous memory of {whose}")
    rest = memory.members - len(shares.holders[:_NAMED])
    others = memory.anon_bytes - sum(_own_pages(t) for t in shares.holders[:_NAMED])
    if rest > 0 and others > 0:
        parts.append(f"{mib(others)} of {counted(rest, 'other process', 'other processes')}")
    if shares.shared_bytes > _SMALL:
        parts.append(f"{mib(shares.shared_bytes)} were shared memory or files in a tmpfs")
    if memory.file_list_bytes > _SMALL:
        parts.append(f"{mib(memory.file_list_bytes)} were pages of files")
    if memory.unevictable_bytes > _SMALL:
        parts.append(f"{mib(memory.unevictable_bytes)} were locked")
    if memory.kernel_bytes > _SMALL:
        parts.append(f"{mib(memory.kernel_bytes)} were the kernel's own")
    text = f"Of {mib(memory.usage_bytes)} in use, {', '.join(parts)}."
    counted_twice = memory.anon_bytes > memory.usage_bytes
    if counted_twice:
        text += " Pages that processes share after a fork count for each of them."
    return context("mem.oom.parts", f"{text} {_whose(victim, shares)}".rstrip(), _facts(shares))


def _whose(victim: ProcessSnapshot, shares: Shares) -> str:
    """Says whether all processes were the run's own, where that is known."""
    if not shares.complete:
        return "Not all processes in that memory were looked at: others may have held a part of it."
    unnamed = shares.memory.members - len(shares.holders)
    foreign = any(t.key != victim.key for t in shares.strangers)
    return "" if unnamed or foreign else "All processes in that memory belong to this run."


def _strangers(victim: ProcessSnapshot, shares: Shares) -> list[Evidence]:
    """Says what is known of the growth of those that are not part of the run."""
    others = [t for t in shares.strangers if t.key != victim.key][:_NAMED]
    if not others:
        return []
    names = ", ".join(f"{_name(t)} with {mib(t.rss_bytes)} ({_growth(t)})" for t in others)
    text = f"Not part of this run, in the same memory: {names}."
    return [
        context("mem.oom.strangers", text, [fact(t.member) for t in others if t.member is not None])
    ]


def _missing(victim: ProcessSnapshot, shares: Shares) -> list[Evidence]:
    memory, asked = shares.memory, shares.asked_bytes
    needed = memory.usage_bytes + asked
    who = victim.who if len(shares.holders) - len(shares.strangers) == 1 else "This run"
    if asked > _SMALL:
        text = (
            f"{who} had asked for {mib(asked)} of private memory that it did not use yet. "
            f"With that, {mib(needed)} are needed: {mib(max(0, needed - memory.limit_bytes))} "
            f"more than the limit of {mib(memory.limit_bytes)}."
        )
    else:
        text = (
            f"{mib(max(0, memory.limit_bytes - memory.usage_bytes))} of the limit of "
            f"{mib(memory.limit_bytes)} were free, and at least one more page was asked for."
        )
    strangers = shares.stranger_bytes
    if strangers and needed - strangers <= memory.limit_bytes:
        text += f" Without the {mib(strangers)} of others, it would have fitted at that moment."
    return [context("mem.oom.missing", text, [fact(memory)])]


def _facts(shares: Shares) -> list[Fact]:
    return [
        fact(shares.memory),
        *(fact(t.member) for t in shares.holders[:_NAMED] if t.member is not None),
    ]


def _name(holder: Competitor) -> str:
    return f"{holder.name} ({holder.pid})"


def _own_pages(holder: Competitor) -> int:
    return holder.member.anon_bytes if holder.member is not None else 0


def _unused(holder: Competitor) -> int:
    member = holder.member
    if member is None:
        return 0
    return max(0, member.private_bytes - member.anon_bytes - member.swap_bytes)


def _growth(holder: Competitor) -> str:
    if not holder.growth_known:
        return "no sample shows a growth of it"
    if holder.growth_bytes < _SMALL:
        return "its samples show no growth"
    return f"it grew by {mib(holder.growth_bytes)} in the last minute of this run"
