"""Claims of the same names by several users."""

from __future__ import annotations

import msgspec

from receiver.model import AMBIGUOUS, BACKED, Identity
from receiver.work.execution import Execution


def is_disputed_by(execution: Execution, identity: Identity) -> bool:
    """Whether the execution claims the same run for another user, without a proof."""
    other = execution.identity
    if other.confidence >= BACKED or other.is_ambiguous or other.owner == identity.owner:
        return False
    return (other.system, other.pipeline, other.run_id) == (
        identity.system,
        identity.pipeline,
        identity.run_id,
    )


def contested(identity: Identity, why: str) -> Identity:
    """The same claim, which another one contradicts."""
    evidence = f"{identity.evidence}; {why}"
    return msgspec.structs.replace(
        identity, confidence=AMBIGUOUS, source="ambiguous", evidence=evidence
    )
