"""The core: records of the kernel in, signals out, and the session that is its only entrance."""
