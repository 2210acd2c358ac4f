"""Ignota: open-world semantic segmentation. See the unknown, learn it, prove it."""

__version__ = "0.1.0"

import os

# Tensors of many megabytes come and go with every image. Asked for in huge pages, which torch does where this is set
# before its first large one, they cost a third of the time (docs/performance.md); Linux alone takes notice.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
