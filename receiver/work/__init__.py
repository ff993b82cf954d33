"""The work of processes: runs of pipelines and attempts of their tasks."""
