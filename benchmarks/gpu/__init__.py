"""The parts of `python -m benchmarks.gpu_check`: workloads and variants in, times and what went wrong out."""
