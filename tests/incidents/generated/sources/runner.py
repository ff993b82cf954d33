"""An orchestrator in Python: runs the stages of its plan file, one after the other."""

import subprocess
import sys

with open(sys.argv[1]) as plan:
    stages = [line.rstrip("\n").split("\t") for line in plan]
for tolerant, *commands in stages:
    running = [subprocess.Popen(command.split("\x1f")) for command in commands]
    failed = [
        f"{child.args[0]}: status {child.returncode}"  # type: ignore[index,str-bytes-safe]
        for child in running
        if child.wait()
    ]
    if failed and tolerant == "0":
        sys.exit("\n".join(failed))
