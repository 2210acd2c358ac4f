"""Ignota: open-world semantic segmentation. See the unknown, learn it, prove it."""

from ignota.heap import keep_freed_memory

__version__ = "0.1.0"

keep_freed_memory()
