"""Seeded street scenes, drawn on the spot: the nineteen Cityscapes classes, and things that none of them covers."""

from ignota.data.synthetic.scene import SyntheticScene, draw_scene
from ignota.data.synthetic.sheet import contact_sheet
from ignota.data.synthetic.streets import SyntheticStreets
from ignota.data.synthetic.unknowns import UNKNOWNS

__all__ = ["UNKNOWNS", "SyntheticScene", "SyntheticStreets", "contact_sheet", "draw_scene"]
