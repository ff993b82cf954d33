import os
import signal
import subprocess
import sys
import time

import luigi

sys.path.insert(0, os.environ["TRUTH_DIR"])
from truth import here

WORK = os.environ["PIPE_WORK"]


class Extract(luigi.Task):
    day = luigi.DateParameter()

    def output(self):
        return luigi.LocalTarget(f"{WORK}/luigi_extract_{self.day}.csv")

    def run(self):
        here(task="Extract")
        time.sleep(0.3)
        with self.output().open("w") as out:
            out.writelines(f"{i}\n" for i in range(5000))


class ShellSort(luigi.Task):
    day = luigi.DateParameter()

    def requires(self):
        return Extract(day=self.day)

    def output(self):
        return luigi.LocalTarget(f"{WORK}/luigi_sorted_{self.day}.csv")

    def run(self):
        here(task="ShellSort")
        subprocess.run(["sort", "-rn", self.input().path, "-o", self.output().path], check=True)


class Fails(luigi.Task):
    day = luigi.DateParameter()

    def requires(self):
        return ShellSort(day=self.day)

    def run(self):
        here(task="Fails")
        subprocess.run(["sh", "-c", "exit 7"], check=True)


class Killed(luigi.Task):
    day = luigi.DateParameter()

    def run(self):
        here(task="Killed")
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGKILL)


class All(luigi.WrapperTask):
    day = luigi.DateParameter()

    def requires(self):
        return [Fails(day=self.day), Killed(day=self.day)]
