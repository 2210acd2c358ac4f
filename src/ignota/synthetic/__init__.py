"""Seeded street scenes, drawn on demand: the nineteen Cityscapes classes, and objects that belong to none of them."""

from ignota.synthetic.scene import SyntheticScene, draw_scene
from ignota.synthetic.streets import SyntheticStreets, contact_sheet
from ignota.synthetic.unknowns import UNKNOWNS

__all__ = ["UNKNOWNS", "SyntheticScene", "SyntheticStreets", "contact_sheet", "draw_scene"]
