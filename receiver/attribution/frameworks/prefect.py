"""Prefect 3: flow runs. Task runs are threads that leave no trace in the kernel, so they are not
visible here.

Measured with 3.8: a worker starts each flow run with PREFECT__FLOW_RUN_ID in its environment. A
plain script starts a temporary server of its own, which is the only sign of it.
"""

from __future__ import annotations

from receiver.attribution.claims import Bind, Claims, Role
from receiver.attribution.context import variable
from receiver.attribution.frameworks.base import HelperRole, Recogniser
from receiver.attribution.programs import arguments_after, base, option, own_run, positional
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.work.worker import Worker

_LIMIT = 250
_SERVER = "prefect.server.api.server:create_app"


class Prefect(Recogniser):
    name = "prefect"
    programs = frozenset({"prefect", "uvicorn"})
    variables = ("PREFECT__FLOW_RUN_ID=", "PREFECT_FLOW_RUN_ID=")
    environment = (
        "PREFECT__FLOW_RUN_ID",
        "PREFECT__FLOW_ID",
        "PREFECT__FLOW_NAME",
        "PREFECT__DEPLOYMENT_NAME",
        "PREFECT__WORKER_NAME",
        "PREFECT_FLOW_RUN_ID",
        "PREFECT_DEPLOYMENT_ID",
        "PREFECT_WORK_POOL_NAME",
    )
    binding = ("PREFECT__FLOW_RUN_ID",)
    helpers = (HelperRole("prefect server"), HelperRole("prefect worker"))

    def image(self, process: Worker) -> Claims:
        environ = process.environ
        run = variable(environ, "PREFECT__FLOW_RUN_ID") or variable(environ, "PREFECT_FLOW_RUN_ID")
        if run:
            flow = variable(environ, "PREFECT__FLOW_NAME")[:_LIMIT]
            deployment = variable(environ, "PREFECT__DEPLOYMENT_NAME")[:_LIMIT]
            identity = Identity(
                self.name,
                flow or deployment or "flow",
                run[:_LIMIT],
                flow or deployment or "flow",
                type="job",
                source="env",
                confidence=PROBABLE if flow else PARTIAL,
                evidence="PREFECT__FLOW_RUN_ID, PREFECT__FLOW_NAME at exec",
                portable=True,
                unreliable_exit_status=True,
            )
            return (Bind(identity),)
        if _SERVER in process.argv:
            return (*self._script(process), Role("prefect server"))
        command = positional(arguments_after(process.argv, "prefect"))[:2]
        if command[:1] in (("worker",), ("server",), ("agent",)):
            return (Role(f"prefect {command[0]}"),)
        return ()

    def _script(self, process: Worker) -> Claims:
        """A script, and not `prefect server start`, started a server: the script is a flow."""
        parent = process.parent
        if (
            parent is None
            or not parent.argv
            or option(parent.argv, "-m") == "prefect"
            or base(parent.argv[-1]) == "prefect"
        ):
            return ()
        script = next((a for a in parent.argv[1:] if a.endswith(".py")), "")
        if not script:
            return ()
        identity = Identity(
            self.name,
            base(script),
            own_run(parent),
            base(script),
            type="job",
            source="argv",
            confidence=PARTIAL,
            evidence="a script that started a temporary Prefect server",
            unreliable_exit_status=True,
        )
        return (Bind(identity, parent),)
