"""Apache Spark 3 and 4: drivers, executors, and the Python processes of both.

Measured with 4.3.0 (local, local-cluster, standalone): a driver is a JVM whose main class is
SparkSubmit. An executor's command line names its application, its number and its driver's address.
Python workers are forks of a daemon below a driver or an executor.
"""

from __future__ import annotations

import re

from receiver import semconv as sc
from receiver.attribution.claims import Bind, Claims, Refine, Role
from receiver.attribution.frameworks.base import HelperRole, Recogniser, is_written
from receiver.attribution.programs import arguments_after, base, option, own_run, positional
from receiver.events import FileOpened
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.work.worker import Worker

_EXECUTOR, _PYTHON_DAEMON = "spark executor", "spark python daemon"
_SUBMIT = "org.apache.spark.deploy.SparkSubmit"
_EXECUTORS = (
    "org.apache.spark.executor.CoarseGrainedExecutorBackend",
    "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend",
    "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend",
)
_SERVICES = {
    "org.apache.spark.deploy.master.Master": "spark master",
    "org.apache.spark.deploy.worker.Worker": "spark worker",
    "org.apache.spark.deploy.history.HistoryServer": "spark history server",
}
_TAKES_VALUE = frozenset(
    {
        "--master",
        "--deploy-mode",
        "--class",
        "--name",
        "--jars",
        "--packages",
        "--exclude-packages",
        "--repositories",
        "--py-files",
        "--files",
        "--archives",
        "--conf",
        "-c",
        "--properties-file",
        "--driver-memory",
        "--driver-java-options",
        "--remote",
        "--driver-library-path",
        "--driver-class-path",
        "--executor-memory",
        "--proxy-user",
        "--driver-cores",
        "--queue",
        "--total-executor-cores",
        "--executor-cores",
        "--num-executors",
        "--principal",
        "--keytab",
    }
)
_PORT = re.compile(r"@[^@:]+:(\d{1,5})$")
# …/_temporary/0/_temporary/attempt_<time><job>_<stage>_m_<partition>_<task>/…
_TASK_ATTEMPT = re.compile(r"/_temporary/attempt_\d+_(\d+)_[mr]_(\d+)_\d+/")


class Spark(Recogniser):
    name = "spark"
    programs = frozenset({"java", "pyspark"})
    paths = ("/_temporary/attempt_",)
    environment = (
        "SPARK_APPLICATION_ID",
        "SPARK_EXECUTOR_ID",
        "SPARK_EXECUTOR_POD_NAME",
        "SPARK_DRIVER_POD_NAME",
    )
    ignored_paths = ("/opt/spark/jars/",)
    helpers = (
        HelperRole(_EXECUTOR),
        # it and its workers exit with 1 when their JVM ends, or hang up after its end
        HelperRole(_PYTHON_DAEMON, ends_with=(1,)),
        *(HelperRole(role) for role in _SERVICES.values()),
    )
    attributes = (sc.PIPELINE_PROCESS_PART,)
    # org.apache.hadoop.mapreduce.lib.output.FileOutputCommitter
    temporary_path = re.compile(r"/_temporary(?:/|$)")

    def image(self, process: Worker) -> Claims:
        argv = process.argv
        if _SUBMIT in argv and "org.apache.spark.launcher.Main" not in argv:
            return self._driver(process)
        for backend in _EXECUTORS:
            if backend in argv:
                return self._executor(process, arguments_after(argv, base(backend)))
        if "pyspark.daemon" in argv:
            return (Role(_PYTHON_DAEMON),)
        return tuple(Role(role) for main, role in _SERVICES.items() if main in argv)

    def _driver(self, process: Worker) -> Claims:
        arguments = arguments_after(process.argv, _SUBMIT)
        configured = [
            value for word in arguments if (value := word.partition("spark.app.name=")[2])
        ]
        script = positional(arguments, _TAKES_VALUE)[:1]
        shell = script == ("pyspark-shell",)
        name = option(arguments, "--name") or (configured[0] if configured else "")
        known = bool(name)
        if not name:
            name = base(script[0]) if script and not shell else "spark"
        identity = Identity(
            "spark",
            name,
            own_run(process),
            name,
            type="job",
            source="argv",
            confidence=PROBABLE if known else PARTIAL,
            evidence="a SparkSubmit command line",
        )
        # `python app.py` starts its JVM: the application is the Python process and its subtree
        holder = (
            process.parent
            if shell and process.parent is not None and process.parent.name.startswith("python")
            else None
        )
        claims: Claims = (Bind(identity), Role("spark driver"))
        return (Bind(identity, holder), *claims) if holder is not None else claims

    def _executor(self, process: Worker, arguments: tuple[str, ...]) -> Claims:
        application, number = option(arguments, "--app-id"), option(arguments, "--executor-id")
        if not (application and number):
            return ()
        port = _PORT.search(option(arguments, "--driver-url"))
        identity = Identity(
            "spark",
            application,
            application,
            f"executor {number}",
            type="executor",
            source="argv",
            confidence=PROBABLE,
            evidence="an executor's command line: --app-id, --executor-id, --driver-url",
        )
        return (
            Bind(identity, port=int(port[1]) if port else 0),
            Refine(system="spark", type="job", run_id=application),
            Role(_EXECUTOR),
        )

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        """The part of the stage that it writes: no thread's name holds it."""
        found = _TASK_ATTEMPT.search(event.path)
        if found is not None and is_written(event):
            part = f"stage {int(found[1])}, partition {int(found[2])}"
            process.remember(sc.PIPELINE_PROCESS_PART, part)
        return ()
