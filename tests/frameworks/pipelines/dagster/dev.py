"""Starts `dagster dev`, runs a job through its API, stops it: `dev.py JOB`."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

from dagster_graphql import DagsterGraphQLClient

PORT = 13000
service = subprocess.Popen(
    [sys.executable, "-m", "dagster", "dev", "-f", "defs.py", "-h", "127.0.0.1", "-p", str(PORT)],
    stdout=open(os.environ["PIPE_WORK"] + "/dev.log", "wb"),
    stderr=subprocess.STDOUT,
    start_new_session=True,
)
try:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/server_info", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    client = DagsterGraphQLClient("127.0.0.1", port_number=PORT)
    for _ in range(60):
        try:
            run = client.submit_job_execution(sys.argv[1])
            break
        except Exception:  # the code server is not there yet
            time.sleep(1)
    for _ in range(240):
        if client.get_run_status(run).value in ("SUCCESS", "FAILURE", "CANCELED"):
            break
        time.sleep(0.5)
finally:
    os.killpg(service.pid, signal.SIGTERM)
    try:
        service.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
