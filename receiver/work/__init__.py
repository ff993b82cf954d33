"""Which work a process does: runs of pipelines and attempts of their tasks."""
