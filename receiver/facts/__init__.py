"""Facts: the process tree, files and their versions, connections, and usage over time."""
