"""A disk that becomes full under a service that runs: it goes on, counts what it cannot store,
and says so."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from tests.small_disk import run_on_small_disk

pytestmark = [pytest.mark.abuse, pytest.mark.live]
_SCRIPT = """
import os, subprocess, sys
sys.path.insert(0, ".")
from pathlib import Path
from tests.live.serving import NAP_RUN, NO_EXPORT, Service, until
folder = Path(sys.argv[1])
folder.chmod(0o755)
service = Service(folder)
service.start(**NO_EXPORT)
history = service.state / "history.db"
until(lambda: service.mark()["unsent"] is not None and history.exists(), "no state")
token = (service.state / "admin.token").read_text().strip()
service.nap(0)
ballast = open(folder / "ballast", "wb", buffering=0)
try:
    while True:
        ballast.write(bytes(512))
except OSError:
    pass
for number in range(1, 4):
    env = {**os.environ, NAP_RUN: f"r{number}"}
    subprocess.run(["sh", "-c", "sleep 0.05; kill -9 $$"], check=False, env=env)
import urllib.request

def skipped():
    address = f"http://127.0.0.1:{service.port}/metrics"
    request = urllib.request.Request(address, headers={"Authorization": "Bearer " + token})
    text = urllib.request.urlopen(request, timeout=30).read().decode()
    name = "pipeline_observer_state_skipped"
    return [line for line in text.splitlines() if line.startswith(name) and "report" in line]

print(until(skipped, "nothing is counted")[0])
assert service.ask("/livez")
ballast.close()
(folder / "ballast").unlink()
service.nap(9)
status = service.stop()
print(status)
import sqlite3
db = sqlite3.connect(history)
print(db.execute("SELECT count(*) FROM runs WHERE system = 'naps of uid 0'").fetchone()[0])
names = [p.name for p in service.state.iterdir()]
print(sorted(n.partition("-")[0] for n in names if "damaged" in n or "tmp" in n))
print(service.said(), file=sys.stderr)
"""


def test_a_disk_that_becomes_full_is_waited_for_and_counted(live: None) -> None:
    with tempfile.TemporaryDirectory(prefix="kwitness-disk-", dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        done = run_on_small_disk(Path(folder), [sys.executable, "-c", _SCRIPT, folder], size="1m")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    counted, status, runs, left = done.stdout.splitlines()
    assert "report_full" in counted, counted
    assert (status, runs, left) == ("0", "5", "[]"), done.stdout + done.stderr
    assert "items of report not stored" in done.stderr, done.stderr
