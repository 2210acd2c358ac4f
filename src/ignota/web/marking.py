"""Turns the marks of a request into examples that can be taught."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np

from ignota.formats.rle import decode_rle
from ignota.perception.marks import Box, Click, Mark, Polygon
from ignota.perception.scene import Scene, UnknownRegion
from ignota.structures import InputError
from ignota.web import forms
from ignota.web.session import OpenImage, Session
from ignota.world.teaching import Prepared, prepare

_MOST_MARKED = 120_000_000
"""Pixels of the masks that are held at once."""


def picked(session: Session, image: OpenImage, scene: Scene, form: forms.MarkForm) -> UnknownRegion:
    """The region that a form shows; raises InputError."""
    if form.rle is not None:
        mask = decode_rle(form.rle.model_dump(), session.limits.pixels)
        if mask.shape not in (image.tables.size, image.tables.closed.shape):
            raise InputError(f"the mask is {mask.shape[1]}×{mask.shape[0]}: neither the image's size nor its grid's")
        if not mask.any():
            raise InputError("the mask is empty")
        size = image.tables.size
        full = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        return scene.region(np.asarray(full), "mask")
    mark: Mark
    if form.polygon is not None:
        mark = Polygon(form.polygon)
    elif form.box is not None:
        mark = Box(*form.box)
    else:
        click = form.click or forms.ClickForm(x=0, y=0)
        mark = Click(click.x, click.y, click.extent, click.threshold, click.plus, click.minus)
    return session.world.select(scene, mark)


def prepared(session: Session, form: forms.LearnForm) -> list[Prepared]:
    """Examples and counter-examples, image by image, so that the features of several images never add up.

    Those on one image are read together, as many as there is room for, so that what one of them marks is no
    counter-example of another. Raises InputError, and Missing for an image that is not open.
    """
    name, made = form.name.strip(), list[Prepared]()
    for key in images_of(form):
        image, scene = session.scene(session.image(key))
        seen = [(scene.encoding, image.tables)]
        marks = [(each, True) for each in form.examples if each.image == key]
        marks += [(each, False) for each in form.against if each.image == key]
        most = max(1, _MOST_MARKED // (image.tables.size[0] * image.tables.size[1]))
        for part in (marks[i : i + most] for i in range(0, len(marks), most)):
            examples, against = (
                [picked(session, image, scene, each) for each, positive in part if positive is wanted]
                for wanted in (True, False)
            )
            found = prepare(session.world, name, examples, seen=seen, against=against)
            made += [replace(one, encoding=image.bare) for one in found]
    return made


def images_of(form: forms.LearnForm) -> Iterable[str]:
    """Keys of the images that carry a mark, each once, in the order of the examples."""
    return dict.fromkeys(each.image for each in (*form.examples, *form.against))
