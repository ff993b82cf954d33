"""A server, a deployment and its runner, one run each: `drive.py worker|serve RUNS`."""

import os
import subprocess
import sys
import time
import urllib.request

MODE, RUNS = sys.argv[1], int(sys.argv[2])
PORT = 14200
os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{PORT}/api"
LOG = open(os.environ["PIPE_WORK"] + "/prefect.log", "ab")
PREFECT = [sys.executable, "-m", "prefect"]


def start(*command):
    return subprocess.Popen(command, stdout=LOG, stderr=LOG)


server = start(*PREFECT, "server", "start", "--port", str(PORT), "--no-ui")
runner = None
try:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/api/health", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    if MODE == "worker":
        subprocess.run(
            [*PREFECT, "work-pool", "create", "pool", "--type", "process"],
            stdout=LOG,
            stderr=LOG,
            check=True,
        )
        deploy = (
            "from prefect import flow; flow.from_source(source='.', entrypoint='flow.py:etl')"
            ".deploy(name='w', work_pool_name='pool', print_next_steps=False)"
        )
        subprocess.run([sys.executable, "-c", deploy], stdout=LOG, stderr=LOG, check=True)
        runner, name = start(*PREFECT, "worker", "start", "-p", "pool", "--limit", "1"), "etl/w"
    else:
        runner, name = (
            start(sys.executable, "-c", "from flow import etl; etl.serve(name='s')"),
            "etl/s",
        )
        time.sleep(10)
    for _ in range(RUNS):
        for _ in range(30):
            run = [
                *PREFECT,
                "deployment",
                "run",
                name,
                "--watch",
                "--watch-timeout",
                "120",
                *sys.argv[3:],
            ]
            if subprocess.run(run, stdout=LOG, stderr=LOG, check=False).returncode == 0:
                break
            time.sleep(2)
finally:
    for process in (runner, server):
        if process is not None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
