"""The cause card fs.netfs."""

from __future__ import annotations

from receiver.investigate.cards import Nature, Via, cause_class, to

CARD = cause_class(
    name="fs.netfs",
    title="a network file system did not answer",
    predicts="a wait on a network file system",
    rivals="fs.slow_io net.silent_peer",
    tag="check_file_server",
    fix="Check the file server and its network; mount with a timeout (soft).",
    needs="thread_wait",
    nature=Nature.DELAY,
    brings=(to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),),
)
