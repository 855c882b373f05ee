"""Measurements of the library: `python -m benchmarks` takes times, `python -m benchmarks --smoke` counts."""
