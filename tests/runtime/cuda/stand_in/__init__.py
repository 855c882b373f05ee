"""The real cuda.core and the real CuPy on a driver that is not there.

`python -m tests.runtime.cuda.stand_in -m gpu tests/runtime/cuda/test_gpu.py` runs tests that need a device in
a process where `driver.c` is NVIDIA's driver library: kernels are compiled and linked for a device, loaded
and launched by cuda.core, on CuPy's own arrays. Memory is the host's; what a launch would run on a device
is stepped by the emulator. So all is tried but the device; CuPy's own kernels and libraries are out of reach.
"""
