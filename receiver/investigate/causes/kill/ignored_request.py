"""The cause card kill.ignored_request."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kill_origins import origins

CARD = cause_class(
    name="kill.ignored_request",
    title="it ignored a request to end, and was killed later",
    predicts="a request to end that was ignored",
    rivals="kill.supervisor kill.drain kill.container_stopped",
    tag="handle_sigterm",
    fix=(
        "Handle SIGTERM: start the program with exec, run it below an init (tini, docker run "
        "--init), or install a handler that finishes in the grace period."
    ),
    needs="signal_state signal",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(origins,),
)
