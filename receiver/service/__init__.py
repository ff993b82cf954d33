"""The service around the core: its composition, settings, state directory and endpoints."""
