"""Cause classes of connections, names and databases."""

from __future__ import annotations

from receiver.investigate.class_tables.base import CauseClass, Nature, Via, cause_class, to

CLASSES: tuple[CauseClass, ...] = (
    cause_class(
        name="net.pool",
        title="all connections of a pool, or all slots of a server, were in use",
        predicts="connections that were all in use at once",
        rivals="net.silent_peer net.blackhole lim.emfile net.credential",
        tag="bigger_pool",
        fix=(
            "Make the pool at least as large as the number of its users, close responses "
            "after reading, or use a pooler in front."
        ),
        visible="P",
        needs="connection",
        nature=Nature.DELAY,
        brings=(
            to("net.silent_peer net.reset_short", Via.SAME_ENDPOINT),
            to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
        ),
    ),
    cause_class(
        name="net.idle_drop",
        title="a connection that had been idle was dropped on the way",
        predicts="an idle time before the connection broke",
        rivals="net.silent_peer net.reset_short net.blackhole",
        tag="keepalive",
        fix=(
            "Enable TCP keep-alive with an interval below the idle limit of the network "
            "in between, or recycle idle connections."
        ),
        needs="connection",
        brings=(to("net.silent_peer net.reset_short", Via.SAME_ENDPOINT),),
    ),
    cause_class(
        name="net.dns",
        title="a name could not be resolved",
        predicts="a query to a name server without a good answer",
        rivals="net.blackhole net.backlog_refused",
        tag="fix_dns",
        fix="Check the name server (or the number of search domains); cache answers.",
        needs="name_query",
    ),
    cause_class(
        name="net.credential",
        title="a refresh of credentials delayed all other work",
        predicts="a call to a token service while all other work waits",
        rivals="net.pool net.silent_peer net.dns",
        tag="refresh_early",
        fix="Refresh credentials early, and with a client, a timeout and a pool of their own.",
        visible="P",
        needs="connection",
        nature=Nature.DELAY,
        brings=(
            to("net.pool net.silent_peer", Via.SAME_ENDPOINT),
            to("kill.supervisor kill.timeout_orphan kill.heartbeat", Via.ANCESTOR),
        ),
    ),
    cause_class(
        name="net.blackhole",
        title="packets to a peer are lost",
        predicts="SYNs without an answer",
        rivals="net.backlog_refused net.dns net.silent_peer",
        tag="open_the_way",
        fix="Allow the traffic (security group, route, firewall), and set a connect timeout.",
        needs="connection",
    ),
    cause_class(
        name="net.silent_peer",
        title="a peer received the request and did not answer",
        predicts="a request that was acknowledged and not answered",
        rivals="net.idle_drop db.lock_wait net.blackhole net.pool",
        tag="read_timeout",
        fix="Set a read timeout, and examine the peer: the network delivered the request.",
        needs="connection",
        nature=Nature.DELAY,
        brings=(to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),),
    ),
    cause_class(
        name="net.reset_short",
        title="a peer broke the connection before its end",
        predicts="a reset by the peer",
        rivals="mem.child_oom net.idle_drop net.backlog_refused",
        tag="retry_and_check_peer",
        fix=(
            "Find out why the peer closed the connection. Retry idempotent requests, and "
            "check lengths."
        ),
        needs="connection",
    ),
    cause_class(
        name="net.ports",
        title="no local port was free for an endpoint",
        predicts="a connect that failed with EADDRNOTAVAIL",
        rivals="net.backlog_refused lim.emfile",
        tag="reuse_connections",
        fix="Keep connections alive and reuse them (session, pool).",
        needs="call_failed",
    ),
    cause_class(
        name="net.backlog_refused",
        title="no process accepted the connection",
        predicts="a refused connection, or a full accept queue",
        rivals="net.blackhole net.dns",
        tag="readiness",
        fix="Start the server first and wait until it listens; enlarge its backlog.",
        needs="connection",
        brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    ),
    cause_class(
        name="net.mtu",
        title="large packets are lost, and small ones arrive",
        predicts="large packets that were not acknowledged while small ones were",
        rivals="net.silent_peer net.idle_drop net.blackhole",
        tag="lower_mtu",
        fix="Lower the MTU, or allow ICMP 'fragmentation needed'.",
        visible="P",
        needs="connection",
        brings=(to("net.silent_peer", Via.SAME_ENDPOINT),),
    ),
    cause_class(
        name="db.lock_wait",
        title="a database delayed its answer because of a lock",
        predicts="a silent database while another client has an open transaction",
        rivals="net.silent_peer net.pool fs.lock",
        tag="end_the_holder",
        fix="End or commit the transaction of the other client; set lock_timeout.",
        visible="P",
        needs="connection",
        nature=Nature.DELAY,
        brings=(
            to("net.silent_peer", Via.SAME_ENDPOINT),
            to("kill.supervisor kill.timeout_orphan", Via.ANCESTOR),
        ),
    ),
)
