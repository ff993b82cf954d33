"""What outlives the service, in files of its own: a history of earlier runs, reports, the token, and the mark of its last moment.

    directory   the state directory: which one is ours, and the lock that keeps a second service out
    history     earlier runs and signatures in one SQLite file
    reports     one JSON file for each report
    life        until when the last service lived, and what it had not sent
    service     all of it together
    worker      the thread that does all of this beside the event loop
    keeper      a history that is loaded and saved in that thread

The service works without any of it.
"""

from __future__ import annotations

from receiver.service.state.directory import StateDirectory
from receiver.service.state.history import HistoryError, HistoryStore
from receiver.service.state.keeper import HistoryKeeper
from receiver.service.state.reports import ReportStore
from receiver.service.state.service import ServiceState, open_directory_of_service
from receiver.service.state.token import read_token
from receiver.service.state.worker import Worker

__all__ = [
    "HistoryError",
    "HistoryKeeper",
    "HistoryStore",
    "ReportStore",
    "ServiceState",
    "StateDirectory",
    "Worker",
    "open_directory_of_service",
    "read_token",
]
