"""How kernels are compiled for the CPU: Numba, threads, vectors, and the choice of a compiler."""
