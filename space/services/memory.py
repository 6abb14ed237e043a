"""Return of unused memory to the system: glibc keeps what many threads have freed."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any


def release_memory() -> None:
    """Returns freed memory to the system where the C library is glibc."""
    if (trim := _trim()) is not None:
        trim(0)


@lru_cache(maxsize=1)
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
