"""Layer 3: what would the silent component have told us? Executions and findings become spans, log records and metrics."""
