"""Attributes that many signals share, and the ids that connect signals."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from receiver import semconv as sc
from receiver.attribution.containers import NOWHERE, ContainerIdentity, place_of
from receiver.detect.deaths import code_items
from receiver.events import ProcessKey
from receiver.facts.ending import Ending
from receiver.model import ContainerName, Host, Identity
from receiver.signals import Attributes, ResourceAttributes, Value
from receiver.synthesis.ids import process_span_id
from receiver.text.names import signal_name
from receiver.units import SECOND
from receiver.work.execution import Execution
from receiver.work.worker import Worker

_RESOURCES = 1024


class ResourceFactory:
    """Makes the shared attributes and the ids of processes, tasks and workloads.

    Only the wall clock's offset changes.
    """

    def __init__(
        self,
        host: Host,
        *,
        include_argv: bool,
        resource_attributes: Attributes,
        service_name: str,
        value_length_limit: int = 0,
    ) -> None:
        self.host = host
        self.wall_offset_ns = 0
        self.include_argv = include_argv
        self._service_name = service_name
        self._limit = value_length_limit
        self._resource_attributes = resource_attributes
        self._resources: dict[tuple[str, ContainerIdentity], ResourceAttributes] = {}
        self._containers: dict[str, ContainerName] = {}
        self.unattributed = ResourceAttributes(
            (
                (sc.PIPELINE_SYSTEM_NAME, "unknown"),
                (sc.PIPELINE_MAPPING_SOURCE, "none"),
                (sc.PIPELINE_MAPPING_CONFIDENCE, 0.0),
                (sc.PIPELINE_MAPPING_GRADE, "none"),
            )
        )
        # by process, with the revision that it describes
        self._processes: dict[ProcessKey, tuple[int, ResourceAttributes]] = {}
        self._second = (-1, "")  # the last second that was formatted

    def name_containers(self, names: Iterable[ContainerName]) -> None:
        """All container names that the node's kubelet knows now.

        A container that was reported without its name has it from now on.
        """
        self._containers = {name.id: name for name in names}
        for key in [k for k in self._resources if k[1].container_id in self._containers]:
            del self._resources[key]

    def wall(self, boottime_ns: int) -> int:
        """Unix time in ns.

        A clock that is set to before 1970 gives 0, because OTLP's times have no sign.
        """
        return max(0, boottime_ns + self.wall_offset_ns)

    def iso(self, boottime_ns: int) -> str:
        """ISO 8601 UTC with microseconds, the form of process.creation.time."""
        seconds, nanos = divmod(self.wall(boottime_ns), SECOND)
        if seconds != self._second[0]:
            self._second = (
                seconds,
                datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            )
        return f"{self._second[1]}.{nanos // 1000:06}Z"

    def resource(self, system: str, place: ContainerIdentity = NOWHERE) -> ResourceAttributes:
        """The observed workload, not the observer: service.name is the pipeline system unless the
        user named one.
        """
        found = self._resources.get((system, place))
        if found is None:
            # short-lived containers: their ids are on their processes, too
            if len(self._resources) >= _RESOURCES:
                return (
                    self.resource(system)
                    if place != NOWHERE
                    else self._resources[next(iter(self._resources))]
                )
            base: dict[str, Value] = {
                sc.SERVICE_NAME: self._service_name or system,
                sc.HOST_NAME: self.host.name,
                sc.OS_TYPE: "linux",
                sc.SERVICE_INSTANCE_ID: self.host.name,
            }
            if self.host.id:
                base[sc.HOST_ID] = self.host.id
            if self.host.addresses:
                base[sc.HOST_IP] = self.host.addresses
            known = self._containers.get(place.container_id)
            base |= {
                name: value
                for name, value in (
                    (sc.CONTAINER_ID, place.container_id),
                    (sc.CONTAINER_RUNTIME_NAME, place.runtime),
                    (sc.K8S_POD_UID, place.pod_uid),
                    (sc.K8S_POD_NAME, known.pod if known is not None else place.pod_name),
                    (
                        sc.K8S_NAMESPACE_NAME,
                        known.namespace if known is not None else place.namespace,
                    ),
                    (sc.K8S_CONTAINER_NAME, known.container if known is not None else ""),
                )
                if value
            }
            if self.host.source != "ebpf":
                base[sc.PIPELINE_OBSERVER_SOURCE] = self.host.source
            base |= dict(self._resource_attributes)
            found = self._resources[(system, place)] = ResourceAttributes(tuple(base.items()))
        return found

    def resource_of(self, process: Worker) -> ResourceAttributes:
        """The resource of the execution's work, where the process does it."""
        return self.resource(
            process.execution.identity.system if process.execution else "unknown", place_of(process)
        )

    def resource_of_work(self, execution: Execution) -> ResourceAttributes:
        return self.resource(execution.identity.system, place_of(execution.root))

    def task_attributes(self, execution: Execution) -> ResourceAttributes:
        if isinstance(execution.attributes, ResourceAttributes):
            return execution.attributes
        identity = execution.identity
        items: list[tuple[str, Value]] = [
            *identity_items(identity),
            (sc.PIPELINE_TASK_NAME, identity.task),
            (sc.PIPELINE_TASK_TYPE, identity.type),
        ]
        items += [
            (sc.PIPELINE_TASK_ATTEMPT, identity.attempt),
            (sc.PIPELINE_MAPPING_SOURCE, identity.source),
        ]
        if identity.map_index >= 0:
            items.append((sc.PIPELINE_TASK_MAP_INDEX, identity.map_index))
        items.append((sc.PIPELINE_MAPPING_CONFIDENCE, identity.confidence))
        if identity.evidence:
            items.append((sc.PIPELINE_MAPPING_EVIDENCE, identity.evidence))
        execution.attributes = ResourceAttributes(self.cut(items))
        return execution.attributes

    def process_attributes(self, process: Worker) -> ResourceAttributes:
        """Attributes of the process that do not change until its next exec."""
        known = self._processes.get(process.key)
        if known is not None and known[0] == process.revision:
            return known[1]
        process.created = process.created or self.iso(process.key.start_boottime_ns)
        items: list[tuple[str, Value]] = [
            (sc.PROCESS_PID, process.key.tgid),
            (sc.PROCESS_EXECUTABLE_NAME, process.name),
            (sc.PROCESS_CREATION_TIME, process.created),
            (sc.PROCESS_USER_ID, process.uid),
        ]
        if process.executable:
            items.append((sc.PROCESS_EXECUTABLE_PATH, process.executable))
        if process.parent_pid:
            items.append((sc.PROCESS_PARENT_PID, process.parent_pid))
        if process.vpid and process.vpid != process.key.tgid:
            items.append((sc.PROCESS_VPID, process.vpid))
        if process.memory_cgroup:
            items.append((sc.PROCESS_LINUX_CGROUP, process.memory_cgroup))
            if container := place_of(process).container_id:
                items.append((sc.CONTAINER_ID, container))
        if process.argc:
            items.append((sc.PROCESS_ARGS_COUNT, process.argc))
        if process.title:
            items.append((sc.PROCESS_TITLE, process.title))
        if process.role:
            items.append((sc.PIPELINE_PROCESS_ROLE, process.role))
        if self.include_argv:
            items += [
                (sc.PROCESS_COMMAND_ARGS, process.argv),
                (sc.PROCESS_WORKING_DIRECTORY, process.working_directory),
            ]
        made = ResourceAttributes(self.cut(items))
        if not process.forgotten:
            self._processes[process.key] = (process.revision, made)
        return made

    def forget(self, key: ProcessKey) -> None:
        """Frees the attributes of a process. They are made again when they are needed again."""
        self._processes.pop(key, None)

    def exit_items(self, process: Worker, end: Ending) -> Attributes:
        items: list[tuple[str, Value]] = [
            (sc.PROCESS_EXIT_CODE, end.code),
            (sc.PROCESS_EXIT_CAUSE, end.cause),
        ]
        if process.exit is not None:
            items.append((sc.PROCESS_EXIT_TIME, self.iso(process.exit.time_boottime_ns)))
        if end.signal:
            items += [
                (sc.PROCESS_SIGNAL_NUMBER, end.signal),
                (sc.PROCESS_SIGNAL_NAME, signal_name(end.signal)),
            ]
        if end.core_dumped:
            items.append((sc.PROCESS_CORE_DUMPED, True))
        if end.cause == "oom_killed":
            items.append((sc.PROCESS_OOM_KILLED, True))
        if end.failed:
            items.append((sc.ERROR_TYPE, end.error))
        if end.signal:
            items += code_items(process)
        return tuple(items)

    def cut(self, items: Iterable[tuple[str, Value]]) -> Attributes:
        """OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, where one is set."""
        limit = self._limit
        if not limit:
            return tuple(items)
        return tuple(
            (
                k,
                v[:limit]
                if isinstance(v, str)
                else tuple(s[:limit] for s in v)
                if isinstance(v, tuple)
                else v,
            )
            for k, v in items
        )

    def process_context(self, process: Worker) -> tuple[bytes, bytes]:
        """The trace id and the span id of the process's span."""
        span_id = process_span_id(self.host.boot_id, process.key)
        execution = process.execution
        if execution is None:
            return b"", b""
        if (
            process.context is not None
            and process.context.sampled
            and process.context != execution.context
        ):
            return process.context.trace_id, span_id
        return execution.trace_id, span_id


def identity_items(identity: Identity) -> Attributes:
    """System, pipeline and run, the scope of these names, and the confidence."""
    return (
        (sc.PIPELINE_SYSTEM_NAME, identity.system),
        (sc.PIPELINE_NAME, identity.pipeline),
        (sc.PIPELINE_RUN_ID, identity.run_id),
        (sc.PIPELINE_MAPPING_GRADE, identity.grade),
        (sc.PIPELINE_MAPPING_USER_ID, identity.owner),
    )
