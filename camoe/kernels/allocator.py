"""What becomes of memory that torch frees on the CPU: it stays with the process, or goes back to the system."""

from __future__ import annotations

import ctypes

from camoe.kernels.wkv7 import BackendChoice

# glibc's malloc.h: parameters of mallopt
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST_THRESHOLD = 2**31 - 1


def choose_allocator(requested: str) -> BackendChoice:
    """`reuse` keeps freed memory for the next allocation, `system` leaves malloc as it is; applies the choice.

    A step allocates the same large arrays again and again. By default glibc maps and unmaps each of them, and the
    kernel hands out, clears and takes back every page anew. Only glibc has the switch.
    """
    if requested == "system":
        return BackendChoice("system", "kernel.allocator")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or not (mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, LARGEST_THRESHOLD)):
        return BackendChoice("system", "this C library cannot keep freed memory")
    return BackendChoice("reuse", "kernel.allocator: freed memory is kept, steps spare the page faults")
