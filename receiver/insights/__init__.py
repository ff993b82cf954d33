"""Layer 4 across hosts: it combines what the agents of several hosts report about one run.

The agents send this data by OTLP.
"""
