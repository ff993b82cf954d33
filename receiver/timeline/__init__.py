"""What happened to each execution, in order."""
