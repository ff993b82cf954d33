"""Safe use of the host: files that are ours, connections that are counted, log lines that are limited."""
