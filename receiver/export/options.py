"""The settings of the exporters as values; `receiver.export.settings` reads them."""

from __future__ import annotations

from typing import Literal

import msgspec

from receiver.export.endpoints import Header
from receiver.units import MIB

PREFIX = "OTEL_EXPORTER_OTLP_"
SignalName = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[SignalName, ...] = ("traces", "metrics", "logs")


class OtlpSettings(msgspec.Struct, frozen=True):
    """Destination and options of one signal. `timeout_seconds` is per attempt; 0 is no limit."""

    signal: SignalName
    protocol: str
    endpoint: str  # HTTP: the whole URL; gRPC: host:port
    tls: bool
    headers: tuple[Header, ...] = ()
    timeout_seconds: float = 10.0
    gzip: bool = False
    certificate: str = ""
    client_key: str = ""
    client_certificate: str = ""


class BatchSettings(msgspec.Struct, frozen=True):
    """When a batch is sent, and how many items may wait.

    The defaults of the queue and batch sizes are larger than the SDK's 2048 and 512, which a burst
    of processes fills in half a second.
    """

    delay_seconds: float = 1.0
    flush_seconds: float = 10.0
    queue_items: int = 65_536
    queue_bytes: int = 16 * MIB
    batch_items: int = 2048
    batch_bytes: int = MIB


class ExportSettings(msgspec.Struct, frozen=True):
    """The export settings, per signal."""

    exporters: dict[str, tuple[str, ...]]
    otlp: dict[str, OtlpSettings]
    batches: dict[str, BatchSettings]
    metric_interval_seconds: float = 60.0
    delta: bool = False
    service_name: str = ""
    resource_attributes: tuple[tuple[str, str], ...] = ()
    value_length_limit: int = 0  # characters; 0 is none
    disabled: bool = False
