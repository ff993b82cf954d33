"""Variables of the environment."""

from __future__ import annotations

E = "OTEL_EXPORTER_OTLP_"
