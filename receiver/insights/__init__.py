"""Layer 4 across hosts: what many kwitness tell of one run, told by OTLP instead of by kernel events."""
