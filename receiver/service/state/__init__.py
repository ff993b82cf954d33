"""State that is kept between starts, in files of its own: a history of earlier runs, reports, the
token, and the mark of the last service.

    directory   the state directory: its checks, and the lock that excludes a second service
    history     earlier runs and signatures in one SQLite file
    reports     one JSON file for each report
    life        when the last service was last alive, and the items it had not exported
    service     all parts together
    worker      the thread that writes all of this beside the event loop
    keeper      loads and saves a history in that thread
The service works without any of it.
"""

from __future__ import annotations

from receiver.service.state.directory import StateDirectory
from receiver.service.state.history import HistoryError, HistoryStore
from receiver.service.state.keeper import HistoryKeeper
from receiver.service.state.reports import ReportStore
from receiver.service.state.service import ServiceState, open_directory_of_service, state_path
from receiver.service.state.token import read_token
from receiver.service.state.worker import WriterThread

__all__ = [
    "HistoryError",
    "HistoryKeeper",
    "HistoryStore",
    "ReportStore",
    "ServiceState",
    "StateDirectory",
    "WriterThread",
    "open_directory_of_service",
    "read_token",
    "state_path",
]
