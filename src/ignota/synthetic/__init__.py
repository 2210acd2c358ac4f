"""Seeded street scenes, drawn on the spot: the nineteen Cityscapes classes, and things that none of them covers."""

from ignota.synthetic.scene import SyntheticScene, draw_scene
from ignota.synthetic.sheet import contact_sheet
from ignota.synthetic.streets import SyntheticStreets
from ignota.synthetic.unknowns import UNKNOWNS

__all__ = ["UNKNOWNS", "SyntheticScene", "SyntheticStreets", "contact_sheet", "draw_scene"]
