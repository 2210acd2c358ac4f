"""Ignota: open-world semantic segmentation. See the unknown, learn it, prove it.

`load` opens a world, `World.segment` gives a `Scene` with its unknown regions, `World.learn` teaches a class. What is
named here is the public interface; every other module is internal. Each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ignota import errors

__all__ = [
    "Box",
    "Click",
    "Polygon",
    "Region",
    "Scene",
    "World",
    "__version__",
    "adapt",
    "errors",
    "evaluate_anomaly",
    "evaluate_incremental",
    "load",
    "load_plugin",
    "train",
]
__version__ = "0.2.0"

_PLACES = {
    "Box": ("perception.marks", "Box"),
    "Click": ("perception.marks", "Click"),
    "Polygon": ("perception.marks", "Polygon"),
    "Region": ("perception.scene", "UnknownRegion"),
    "Scene": ("perception.scene", "Scene"),
    "World": ("world.model", "OpenWorldModel"),
    **{name: ("door", name) for name in ("adapt", "evaluate_anomaly", "evaluate_incremental", "load", "train")},
    "load_plugin": ("plugins", "load_plugin"),
}
"""Where each name lies, and what it is called there."""

if TYPE_CHECKING:
    from ignota.door import adapt, evaluate_anomaly, evaluate_incremental, load, train
    from ignota.perception.marks import Box, Click, Polygon
    from ignota.perception.scene import Scene
    from ignota.perception.scene import UnknownRegion as Region
    from ignota.plugins import load_plugin
    from ignota.world.model import OpenWorldModel as World
else:  # hidden from mypy, which would take any other name for one of ours

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, inner = _PLACES[name]
        globals()[name] = found = getattr(import_module(f"ignota.{module}"), inner)
        return found

    def __dir__() -> list[str]:
        return sorted(__all__)
