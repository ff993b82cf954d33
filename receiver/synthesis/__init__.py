"""Layer 3: synthetic telemetry of a silent component.

Executions and findings become spans, log records and metrics.
"""
