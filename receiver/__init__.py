"""kwitness: the kernel's witness statement for data pipelines.

Four layers, one direction, imports downwards only (`make lint` checks it):

    kernel/        what happened?   eBPF programs' records as bytes, their decoding, the clock
    attribution/   whose was it?    the process tree, identities held by its subtrees
    bindings       asks the recognisers of attribution/frameworks at each telling fact, and does what they claim
    timeline/      in what order?   runs and task attempts, files and their versions, connections, usage over time
    detect/        what went wrong? findings that cite kernel events
    synthesis/     what would the silent component have told us? spans, log records, metrics
    activity/      what watched processes do between start and end: facts to tables, and to findings where they matter
    investigate/   why?             competing causes over what a case holds: reports, history, incidents
    core           all of it as one plain synchronous object: feed, tick, finish, take
    export/        signals to OTLP: encoding, queue, retry, transports; knows nothing of the core
    redact/        text without secrets: used by the decoder for every text, and by our own log
    session        the one door to the core, for life and for replays; recording keeps what goes through it,
                   recording_scope only what belongs to a command
    insights/      layer 4 across hosts: event records by OTLP in, runs by trace id, a report when one host explains another
    supervisor     sd_notify: ready, alive, stopping
    app            puts source, session and exporters together, and keeps them going
    commands       what `kwitness check | run | record | replay | serve | events` do

Asyncio lives in app, commands, admin, export, insights/inbound and kernel/{source,netlink} only; ctypes in kernel/ only.
"""
