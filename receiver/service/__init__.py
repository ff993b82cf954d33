"""The service around the core: composition, settings, state directory and endpoints."""
