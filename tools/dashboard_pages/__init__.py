"""The dashboards of deploy/grafana/dashboards, one file each."""
