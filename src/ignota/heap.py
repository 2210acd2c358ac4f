"""On request, freed memory stays with the process, so the next image does not request it from the system again.

An image passes hundreds of megabytes through tensors that live for milliseconds. Left to itself, glibc gives large ones
back at once, and the page faults of fresh ones cost more than the arithmetic in them (docs/performance.md).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h
_MOST_KEPT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Makes malloc keep up to 2 GB of freed memory, one heap for all threads; tells whether it does.

    Only where IGNOTA_KEEP_MEMORY=1 asks for it, and only glibc can be asked. It holds for the whole process and cannot
    be taken back, so `import ignota` leaves it to the program; commands, the server and Ray's workers call it. It suits
    a process that does the same again and again, as `segment` does. Where large tensors of many sizes come and go among
    small objects that stay, the holes that are left no longer fit, and the process may grow far beyond its need. Where
    one of the three settings is refused, the others stay and False is returned.
    """
    if os.environ.get("IGNOTA_KEEP_MEMORY") != "1":
        return False
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, ValueError, OSError):
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _MOST_KEPT), mallopt(_ARENA_MAX, 1)])


def return_freed_memory() -> bool:
    """Gives the system back what was freed; tells whether it could be asked, which only glibc can."""
    try:
        os.confstr("CS_GNU_LIBC_VERSION")
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, ValueError, OSError):
        return False
    return True


def resident_memory() -> int | None:
    """Bytes of this process that are in memory; None where the system does not tell (Linux does)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
