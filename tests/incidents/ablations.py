"""The recordings of the same runs, with a part of the facts taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from receiver.errors import DecodeError
from receiver.events import (
    Event,
    FileChanged,
    FileClosed,
    FileOpened,
    Neighbour,
    OomKill,
    OpenFile,
    ProcessSample,
    ThreadWait,
)
from receiver.investigate.report import EXPLAINED, to_json
from receiver.kernel.decode import decode, split
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import FrameKind, Recording
from receiver.observe.replay import OF_HISTORY, replay_frame
from receiver.observe.session import Session
from receiver.service.state import HistoryStore
from receiver.text.redact import Redactor
from tests.incidents.baselines import ours, right
from tests.incidents.results import Result
from tests.incidents.score import share

ABLATIONS: dict[str, tuple[type[Event], ...]] = {
    "without earlier runs (no history)": (),
    "without OOM kill events": (OomKill,),
    "without file events": (FileOpened, FileClosed, FileChanged, OpenFile),
    "without samples over time": (ProcessSample, ThreadWait, Neighbour),
}


def again(
    recording: Path, without: tuple[type[Event], ...], *, history: bool = False
) -> dict[str, Any]:
    source = Recording(recording)
    core = Core(source.header.host, CoreOptions(only_commands=True))
    earlier = recording.with_suffix(".history")
    if history and earlier.exists():
        store = HistoryStore(earlier)
        core.history = store.load()
        store.close()
    session, redactor, last = Session(core), Redactor("off"), 0
    core.set_wall_offset(source.header.wall_offset_ns)
    for frame in source:
        last = max(last, frame.time_ns)
        if frame.kind == FrameKind.BATCH and without:
            kept = []
            for raw in split(frame.payload):
                try:
                    if not isinstance(decode(raw, redactor), without):
                        kept.append(raw)
                except DecodeError:
                    continue
            session.batch(kept, frame.time_ns)
        elif frame.kind not in OF_HISTORY:
            replay_frame(session, frame)
    session.finish(last)
    report: dict[str, Any] = json.loads(to_json(list(core.incidents.reports.values())[-1]))
    return report


def ablation_lines(results: list[Result], folder: Path) -> list[str]:
    lines = [
        "## With fewer facts",
        "",
        (
            "The recordings of the same incident runs are replayed without some of the facts; "
            "the last three also without history."
        ),
        "",
        "| | class@1 |",
        "|---|---|",
    ]
    kept = [
        (r, folder / f"{r.scene}-{r.variant}.kw") for r in results if r.truth.verdict in EXPLAINED
    ]
    kept = [(r, p) for r, p in kept if p.exists()]
    if not kept:
        return ["Recordings were not kept: no ablations."]
    whole = sum(right(r, ours(r)) for r, _ in kept)
    lines.append(f"| all facts | {share(whole, len(kept))} |")
    for label, without in ABLATIONS.items():
        good = sum(
            right(r, ours(msgspec.structs.replace(r, report=again(p, without)))) for r, p in kept
        )
        lines.append(f"| {label} | {share(good, len(kept))} |")
    return lines
