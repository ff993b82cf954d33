"""A call that fails in a worker of a pool, which hands the error on to its program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report
from tests.live.commands import CLEAN, KWITNESS, ROOT

pytestmark = pytest.mark.live
POOLS = {
    "futures": "with f.ProcessPoolExecutor(2, mp_context=fork) as p: list(p.map(work, range(4)))",
    "multiprocessing": "with fork.Pool(2) as p: p.map(work, range(4))",
    "threads": "with f.ThreadPoolExecutor(2) as p: list(p.map(work, range(4)))",
}
PROGRAM = """
import concurrent.futures as f, multiprocessing, sys, time
fork = multiprocessing.get_context("fork")
def work(n):
    time.sleep(0.2)
    if n == 2: open(sys.argv[1], "w").close()
{pool}
"""


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("sick", [True, False], ids=["sick", "well"])
def test_a_call_that_failed_in_a_worker_is_found(
    live: None, tmp_path: Path, pool: str, sick: bool
) -> None:
    (tmp_path / "pool.py").write_text(PROGRAM.format(pool=POOLS[pool]))
    target = tmp_path / "result"
    if sick:
        target.mkdir()
    program = [sys.executable, "-I", "-S", "pool.py", str(target)]
    done = subprocess.run(
        [*KWITNESS, "run", "--quiet", "--report", "report.json", "--", *program],
        cwd=tmp_path,
        env=CLEAN | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == sick
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    assert report.verdict == ("incident" if sick else "healthy")
    if sick:
        lead = report.hypotheses[0]
        assert (lead.cause, lead.culprit.path) == ("fs.path_unusable", str(target))
