"""Ignota: open-world semantic segmentation. See the unknown, learn it, prove it."""

__version__ = "0.1.0"
