"""Measurements. `make bench` runs them all, as ratios within one run where that is possible,
and writes docs/performance.md."""
