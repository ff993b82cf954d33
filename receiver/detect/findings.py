"""The table of findings: what each kind is for, once a detector has made it.

The columns are read where they matter: `key_fact` by synthesis.spans, `kept` by insights.runs,
`symptom` by investigate.symptoms, and `opens_incident` by investigate.incidents.
"""

from __future__ import annotations

import msgspec

from receiver import semconv as sc


class FindingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """key_fact: the spans of the process and of its task have it as an event. kept: insights keeps
    its record, because it can explain a failure on another host. symptom: the kind of symptom that
    it is of a case; empty if it only explains others. opens_incident: it starts an investigation
    although its task still runs.
    """

    key_fact: bool = True
    kept: bool = True
    symptom: str = ""
    opens_incident: bool = False


FINDINGS: dict[str, FindingSpec] = {
    sc.EVENT_PROCESS_OOM_KILLED: FindingSpec(opens_incident=True),
    sc.EVENT_PROCESS_KILLED: FindingSpec(),
    sc.EVENT_PROCESS_HANG: FindingSpec(symptom="hang", opens_incident=True),
    sc.EVENT_PROCESS_MEMORY_GROWTH: FindingSpec(),
    sc.EVENT_PROCESS_CALL_FAILED: FindingSpec(),
    sc.EVENT_FILE_PARTIAL_WRITE: FindingSpec(),
    sc.EVENT_FILE_TAINTED_READ: FindingSpec(symptom="tainted_read", opens_incident=True),
    sc.EVENT_FILE_CONFLICT: FindingSpec(),
    sc.EVENT_NETWORK_CONNECTION_FAILED: FindingSpec(),
    sc.EVENT_NETWORK_CONNECTION_STALLED: FindingSpec(symptom="stall", opens_incident=True),
    sc.EVENT_NETWORK_CONNECTION_EXHAUSTED: FindingSpec(symptom="stall", opens_incident=True),
    sc.EVENT_PIPELINE_TASK_CONTENTION: FindingSpec(),
    sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH: FindingSpec(),
}


_NO_FINDING = FindingSpec(key_fact=False, kept=False)


def spec_of(kind: str) -> FindingSpec:
    """The row of a kind of record. For a record that is no finding, all columns are empty."""
    return FINDINGS.get(kind, _NO_FINDING)
