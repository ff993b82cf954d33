"""Layer 1, extraction: the kernel events. Only this package touches the kernel."""
