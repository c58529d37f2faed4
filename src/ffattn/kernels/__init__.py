"""How kernels are compiled and run on the CPU by Numba, and the choice between it, Triton and plain PyTorch."""
