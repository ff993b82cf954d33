"""Judges claims: how certain each one is, and whether it contradicts the claim of another process.

A claim is certain only when `attribution.proof` finds the claiming process proven. It is ambiguous
when it names a run that a proven process of another user does.
"""

from __future__ import annotations

import msgspec

from receiver.attribution.proof import prove
from receiver.events import FileOpened
from receiver.model import BACKED, CERTAIN, Identity
from receiver.work.disputes import contested
from receiver.work.execution import Execution
from receiver.work.executions import Executions
from receiver.work.worker import Worker


def judge_claim(process: Worker, identity: Identity, opened: FileOpened | None) -> Identity:
    """Checks a claim. Every claim of every recogniser and rule passes here."""
    owner = process.uid
    if identity.confidence < CERTAIN:
        return msgspec.structs.replace(identity, owner=owner)
    proof = prove(process, identity.system, opened)
    evidence = f"{identity.evidence}: {proof.text}"
    return msgspec.structs.replace(
        identity, owner=owner, confidence=proof.confidence, evidence=evidence
    )


def is_released(process: Worker, identity: Identity) -> bool:
    return bool(process.detached_identities) and any(
        Identity(*key).agrees(identity)
        for key in process.detached_identities
        if isinstance(key, tuple)
    )


class Judge:
    """Compares a claim with the work that is open."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def compared(
        self, process: Worker, identity: Identity, execution: Execution | None
    ) -> tuple[Identity, tuple[bytes, bytes] | None]:
        """Compares the claim with the claims of other processes: it is ambiguous when one of them
        is better, and gets the ids of that one.
        """
        names_a_run = identity.portable or identity.source == "env"
        if names_a_run and execution is not None and _contradicts(execution, identity):
            return contested(identity, "its ancestors do other work"), None
        if identity.confidence >= BACKED:
            return identity, None
        if (found := self._executions.proven_for_others(identity)) is not None:
            owner, ids = found
            return contested(identity, f"a proven process of uid {owner} does that run"), ids
        rightful = self._rightful(identity) if names_a_run else None
        if rightful is not None and _is_stranger(process, rightful):
            why = "the task itself runs elsewhere or as another user"
            return contested(identity, why), (rightful.trace_id, rightful.span_id)
        return identity, None

    def _rightful(self, identity: Identity) -> Execution | None:
        """The open work of that name and user, with or without a known map index."""
        found = self._executions.open.get(identity.slot)
        if found is not None or identity.source != "env":
            return found
        return self._executions.like(identity)


def _contradicts(execution: Execution, identity: Identity) -> bool:
    return any(
        e.identity.system == identity.system and e.identity.type == identity.type
        for e in execution.chain()
    )


def _is_stranger(process: Worker, rightful: Execution) -> bool:
    """Whether it is outside of the proven work's process tree."""
    if any(
        rightful in (a.execution.chain() if a.execution is not None else ())
        for a in process.ancestors()
    ):
        return False
    return rightful.identity.confidence >= CERTAIN
