"""How processes end."""

from __future__ import annotations

from typing import Any

from receiver.events import Exit, OomKill, OomScope, ProcessKey, Signal
from receiver.model import NOBODY
from tests.story.teller import MS, Teller


class Endings(Teller):
    """Processes end, and others end them."""

    def exit(
        self, key: ProcessKey, code: int = 0, *, signal: int = 0, after_ms: float = 50, **other: Any
    ) -> None:
        self.step(after_ms)
        values: dict[str, Any] = {
            "process": key,
            "real_parent": NOBODY,
            "user_cpu_ns": 30 * MS,
            "system_cpu_ns": 10 * MS,
            "cpu_runtime_ns": 20 * MS,
            "run_delay_ns": MS,
            "peak_rss_bytes": 5 << 20,
            "read_bytes": 4096,
            "written_bytes": 8192,
            "read_call_bytes": 100,
            "write_call_bytes": 200,
            "wait_status": signal or code << 8,
            "uid": 1000,
            "comm": "x",
            "title": "",
        }
        self.say(Exit, **(values | other))

    def signal(
        self,
        sender: ProcessKey,
        target: ProcessKey,
        number: int,
        *,
        code: int = 0,
        comm: str = "bash",
        handled: int = 0,
    ) -> None:
        self.say(
            Signal,
            sender=sender,
            target=target,
            signal=number,
            code=code,
            sender_uid=0,
            handled=handled,
            sender_comm=comm,
            target_comm="x",
        )

    def oom(
        self,
        victim: ProcessKey,
        *,
        trigger: ProcessKey | None = None,
        scope: OomScope = OomScope.CGROUP,
    ) -> None:
        self.say(
            OomKill,
            victim=victim,
            trigger=trigger or victim,
            anon_rss_bytes=60 << 20,
            file_rss_bytes=1 << 20,
            shmem_rss_bytes=0,
            limit_bytes=64 << 20 if scope else 0,
            usage_bytes=64 << 20 if scope else 0,
            host_total_bytes=8 << 30,
            host_free_bytes=1 << 30,
            memory_cgroup_id=2,
            scope=scope,
            oom_score_adj=0,
            victim_comm="python3",
            trigger_comm="java",
            memory_cgroup="/jobs" if scope else "",
            victim_cgroup="/jobs/one",
        )
