"""A pool of worker processes in Python, which run the commands of a plan file."""

import concurrent.futures
import multiprocessing
import subprocess
import sys


def run(command: str) -> int:
    return subprocess.run(command.split("\x1f"), check=False).returncode


if __name__ == "__main__":
    with open(sys.argv[1]) as plan:
        stages = [line.rstrip("\n").split("\t") for line in plan]
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(3, mp_context=context) as workers:
        for tolerant, *commands in stages:
            results = list(workers.map(run, commands))
            if any(results) and tolerant == "0":
                print(f"results: {results}", file=sys.stderr)
                sys.exit(1)
