"""kwitness: the kernel's witness statement for data pipelines.

Imports go downwards only (`make lint` checks it). From the top to the bottom:

    cli           the commands of `kwitness`, one module each
    service       the service around the core: composition, settings, state directory, endpoints
    insights      the investigation across hosts: event records in, reports about several hosts out
    render        what people see: reports, process trees, timelines and pages
    observe       the core (feed, tick, finish, take), the session as its entrance, and recordings
    investigate   competing causes over one case: report, history, incidents
    synthesis     spans, log records and metrics of what was observed
    detect        findings that cite kernel events
    attribution   which framework's work a process does: recognisers, their claims, and the proof
    work          runs of pipelines, attempts of their tasks, and the processes that do them
    facts         what is known: the process tree, and one table per kind of fact, by process
    export        signals to OTLP: encoding, queue, retry, transports; it knows nothing of the core
    safe          safe use of the host: own files, counted connections, limited log lines
    kernel        eBPF programs and their records, the fallback source, clocks, privileges
    text          kernel bytes as text: printable, without secrets, and in words

    model         values that several rooms share: identities, findings, options
    signals       spans, log records and metrics as values
    errors        every error that ends a command, with its exit status
    events        GENERATED from bpf/events.h: the records of the kernel half
    constants     GENERATED from bpf/events.h: the numbers and words that both halves need
    semconv       GENERATED from semconv/model: the names of everything that is emitted
    calls         the system calls of x86-64 by number
    units         units of time and size

asyncio is used in cli, service, export, insights, safe and kernel only; ctypes in kernel and in
service/symbols only.
"""
