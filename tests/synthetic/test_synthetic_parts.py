import math

import cv2
import numpy as np
import pytest

from ignota.synthetic import UNKNOWNS, furniture, people, plots, vehicles
from ignota.synthetic.camera import Camera
from ignota.synthetic.canvas import Canvas, Placed
from ignota.synthetic.order import footprint, painting_order
from ignota.synthetic.shapes import (
    Face,
    Solid,
    Thing,
    box,
    ellipse,
    flat_thing,
    grid,
    outline,
    patches,
    walls,
    wheels,
)
from ignota.synthetic.weather import cloud_tile, cut, noise_tile

CAMERA = Camera(height=100, width=200, focal=180.0, centre=100.0, horizon=40.0, eye=1.5)


def rng(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def test_a_camera_shows_far_things_small_and_near_the_horizon():
    near, far = CAMERA.project(np.array([[[1, 0, 10], [1, 1, 10]], [[1, 0, 100], [1, 1, 100]]], np.float32))
    assert near[0].tolist() == pytest.approx([118.0, 67.0])
    assert near[0, 1] - near[1, 1] == pytest.approx(18.0, rel=1e-5)
    assert far[0, 1] - far[1, 1] == pytest.approx(1.8, rel=1e-4)


@pytest.mark.parametrize(("bend", "roll"), [(0.0, 0.0), (0.002, 0.0), (-0.001, 0.03)])
def test_the_ground_under_a_pixel_projects_back_to_it(bend, roll):
    camera = Camera(60, 80, 70.0, 42.0, 25.0, 1.6, bend, roll)
    x, z = camera.ground()
    back = camera.project(np.stack((x, np.zeros_like(x), z), 2))
    rows, columns = np.mgrid[:60, :80]
    below = (z < 200) & (z > 1)
    assert below.sum() > 1000
    assert np.abs(back[..., 0] - columns)[below].max() < 0.05
    assert np.abs(back[..., 1] - rows)[below].max() < 0.05


def test_patches_lie_on_their_quad():
    """Against the corner formula, written out."""
    quad = np.array([[0, 0, 0], [4, 0, 0], [4, 2, 1], [0, 2, 1]], np.float32)
    whole, part = patches(quad, [(0.0, 0.0, 1.0, 1.0), (0.25, 0.5, 0.5, 1.0)])
    assert np.allclose(whole, quad)
    assert np.allclose(part, [[1, 1, 0.5], [2, 1, 0.5], [2, 2, 1], [1, 2, 1]])
    assert np.allclose(patches(quad, np.array([[0.25, 0.5, 0.5, 1.0]], np.float32))[0], part)


def test_a_grid_fills_its_share_of_the_area():
    cells = grid(4, 3, (0.5, 0.8), (0.1, 0.2, 0.9, 0.8))
    assert cells.shape == (12, 4)
    areas = (cells[:, 2] - cells[:, 0]) * (cells[:, 3] - cells[:, 1])
    assert areas.sum() == pytest.approx(0.5 * 0.8 * 0.8 * 0.6, rel=1e-5)
    assert cells[:, :2].min() >= 0.1 and cells[:, 2:].max() <= 0.9


def test_a_tilted_ellipse_keeps_its_radii():
    points = ellipse(1.0, 2.0, 3.0, 0.5, 0.7)[0, :, :2] - (1.0, 2.0)
    turn = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    straight = points @ turn
    assert np.allclose((straight[:, 0] / 3.0) ** 2 + (straight[:, 1] / 0.5) ** 2, 1.0, atol=1e-4)


def test_boxes_face_outwards():
    """The winding of each quad turns counter to the clock when seen from outside."""
    for quad, normal in zip(
        box(2, 0, 1, -2, 2), [(0, 0, -1), (0, 0, 1), (-1, 0, 0), (1, 0, 0), (0, 1, 0)], strict=True
    ):
        turned = np.cross(quad[1] - quad[0], quad[3] - quad[0])
        assert np.dot(turned, normal) < 0  # the axes are left-handed


def test_painting_order_puts_hidden_things_first():
    car, bus_beside_it, person_before_it, house = (1, 3, 10, 14), (4, 6.5, 8, 19), (1, 2, 6, 7), (9, 20, 2, 30)
    order = painting_order(np.array([person_before_it, car, bus_beside_it, house], float))
    assert [order.index(i) for i in (3, 2, 1, 0)] == [0, 1, 2, 3]


def test_painting_order_is_a_permutation_even_in_a_cycle():
    areas = np.array([[-1, 5, 3, 4], [-1, 5, 3, 4], [-1, 5, 3, 4]], float)
    assert sorted(painting_order(areas)) == [0, 1, 2]
    assert painting_order(np.zeros((0, 4))) == []


def test_a_turned_thing_covers_turned_ground():
    thing = flat_thing([Face(outline((0, 0), (1, 0), (1, 1)), (1, 2, 3))], 2.0, 1.0, half_length=0.5)
    assert footprint(Placed(thing, 0, 1.0, 10.0)) == pytest.approx((-1, 3, 9.5, 10.5))
    assert footprint(Placed(thing, 0, 1.0, 10.0, math.pi / 2)) == pytest.approx((0.5, 1.5, 8, 12))


def test_near_things_hide_far_ones_in_every_map():
    canvas = Canvas(CAMERA, (0.0, 1.0, 0.0))
    canvas.entry(10)
    square = flat_thing([Face(outline((-1, 0), (1, 0), (1, 2), (-1, 2)), (200, 0, 0))], 1.0, 2.0)
    canvas.place(Placed(square, 13, 0.0, 20.0))
    canvas.place(Placed(square, 255, 0.0, 10.0, anomaly=True))
    label, anomaly, instance = canvas.maps()
    assert label[50, 100] == 255 and anomaly[50, 100] == 1 and instance[50, 100] == 2
    assert not (label == 13).any()
    assert label[0, 0] == 10 and instance[0, 0] == 0


def test_inner_faces_colour_and_colourless_ones_label():
    canvas = Canvas(CAMERA, (0.0, 1.0, 0.0))
    canvas.entry(10)
    square = outline((-1, 0), (1, 0), (1, 2), (-1, 2))
    canvas.place(Placed(flat_thing([Face(square, (9, 9, 9), inner=True)], 1.0, 2.0), 13, 0.0, 10.0))
    assert (canvas.image[50, 100] == 9).all() and (canvas.maps()[0] == 10).all()
    canvas.place(Placed(flat_thing([Face(square, None)], 1.0, 2.0), 13, 0.0, 10.0))
    assert (canvas.image[50, 100] == 9).all() and canvas.maps()[0][50, 100] == 13


@pytest.mark.parametrize(("yaw", "shown"), [(0.0, "rear"), (math.pi, "front")])
def test_panels_that_face_away_are_not_drawn(yaw, shown):
    canvas = Canvas(CAMERA, (0.0, 1.0, 0.0))
    canvas.entry(10)
    sides = box(2, 0, 1, -1, 1)
    parts = {"rear": [Face(sides.rear[None], (200, 0, 0))], "front": [Face(sides.front[None], (0, 200, 0))]}
    thing = Thing([Solid(walls(sides, (9, 9, 9), parts))], 1.0, 1.0, 1.0)
    canvas.place(Placed(thing, 13, 0.0, 12.0, yaw))
    reddest, greenest = canvas.image[..., 0].max() > 100, canvas.image[..., 1].max() > 100
    assert (reddest, greenest) == (shown == "rear", shown == "front")


def test_cars_trucks_buses_share_wheels_and_differ_in_build():
    built = {name: getattr(vehicles, name)(rng(1)) for name in ("car", "truck", "bus", "train")}
    rims = {}
    for name, thing in built.items():
        faces = [f for s in thing.solids for p in s.panels for f in p.faces]
        rims[name] = {f.colour for f in faces} & {f.colour for f in wheels([0.0], 0.4)}
    assert len(rims["car"]) >= 3 and rims["car"] == rims["truck"] == rims["bus"]
    assert built["car"].height < 2 < built["bus"].height < built["truck"].height + 0.9
    assert built["train"].half_length > built["bus"].half_length > built["car"].half_length


@pytest.mark.parametrize("blur", [0.0, 1.2, 6.0])
def test_noise_is_standard_seamless_and_read_only(blur):
    tile = noise_tile(blur)
    assert tile.mean() == pytest.approx(0, abs=1e-3) and tile.std() == pytest.approx(1, rel=1e-3)
    across_the_seam = np.abs(tile[0] - tile[-1]).mean()
    assert across_the_seam == pytest.approx(np.abs(np.diff(tile, axis=0)).mean(), rel=0.25)
    assert not tile.flags.writeable


def test_noise_is_cut_at_any_size():
    assert cut(cloud_tile(), rng(), 700, 1100).shape == (700, 1100)
    assert (cut(cloud_tile(), rng(3), 40, 50) == cut(cloud_tile(), rng(3), 40, 50)).all()


BUILDERS = {
    **UNKNOWNS,
    **{name: getattr(vehicles, name) for name in ("car", "truck", "bus", "train")},
    **{name: getattr(people, name) for name in ("person", "bicycle", "motorcycle")},
    **{name: getattr(furniture, name) for name in ("traffic_light", "traffic_sign", "tree", "bush")},
    "rider": lambda generator: people.rider(generator, motor=False),
    "motor rider": lambda generator: people.rider(generator, motor=True),
    "lamp post": lambda generator: furniture.lamp_post(generator, 6.0, 1.0),
    "building": lambda generator: plots.building(generator, 12.0, 9.0),
    "wall": lambda generator: plots.wall(generator, 9.0),
    "fence": lambda generator: plots.fence(generator, 9.0),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_colour_and_label_cover_the_same_pixels(name):
    """But for the faint rim of smoothed edges, and for what is seen between spokes and pickets."""
    ground = (1, 254, 2)
    covered = {"bicycle": 0.5, "fence": 0.0}.get(name, 0.99)
    for seed, yaw in ((0, 0.0), (1, 0.5), (2, -2.6), (3, 1.4)):
        thing = BUILDERS[name](rng(seed))
        canvas = Canvas(Camera(240, 480, 300.0, 240.0, 120.0, 1.5), (0.0, 1.0, 0.0))
        canvas.entry(10)
        canvas.image[:] = ground
        canvas.place(Placed(thing, 13, 0.0, 6.0 + 1.5 * max(thing.height, thing.half_length), yaw))
        labelled = (canvas.maps()[0] == 13).astype(np.uint8)
        coloured = np.abs(canvas.image.astype(int) - ground).max(2)
        assert labelled.any()
        assert not ((coloured > 60) & (cv2.dilate(labelled, np.ones((3, 3), np.uint8)) == 0)).any()
        assert ((coloured > 0) & (labelled == 1)).sum() >= covered * labelled.sum()
