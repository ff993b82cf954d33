"""The core: it turns kernel events into signals. `Session` is its only entrance."""
