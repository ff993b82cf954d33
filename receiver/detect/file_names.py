"""Names of files that are no data: other programs may read and write them at any time."""

from __future__ import annotations

BOOKKEEPING = (".lock", ".pid", ".lck")
# and logs, and the journals of databases
LOGS = (*BOOKKEEPING, ".log", ".out", ".err", ".wal", "-journal", "-wal", "-shm")
