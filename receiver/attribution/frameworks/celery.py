"""Celery workers: the application that they serve.

A task's name is in no title and no argument, so it is not visible here. Airflow's tasks below a
worker are visible by their log files.
"""

from __future__ import annotations

from receiver.attribution.claims import Claims, Role
from receiver.attribution.frameworks.base import HelperRole, Recogniser
from receiver.attribution.programs import arguments_after, option
from receiver.work.worker import Worker

_WORKER = "celery worker"


class Celery(Recogniser):
    name = "celery"
    programs = frozenset({"celery"})
    titles = ("[celeryd:",)
    helpers = (HelperRole(_WORKER),)

    def image(self, process: Worker) -> Claims:
        arguments = arguments_after(process.argv, "celery")
        if "worker" not in arguments:
            return ()
        application = option(arguments, "-A", "--app")
        return (
            Role(
                f"{_WORKER} of {application}" if application else _WORKER,
                watch="airflow" in application,
            ),
        )

    def titled(self, process: Worker) -> Claims:
        return (Role(_WORKER),)
