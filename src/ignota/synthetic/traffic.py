"""Road users: vehicles in their lanes, riders, persons, and unknown objects."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ignota.synthetic.camera import Camera
from ignota.synthetic.canvas import Placed
from ignota.synthetic.order import footprint
from ignota.synthetic.people import bicycle, motorcycle, person, rider
from ignota.synthetic.shapes import Thing
from ignota.synthetic.street import Street
from ignota.synthetic.unknowns import UNKNOWNS
from ignota.synthetic.vehicles import bus, car, train, truck
from ignota.taxonomy import CITYSCAPES, IGNORE_INDEX

_PERSON, _RIDER, _CAR, _TRUCK, _BUS, _TRAIN, _MOTORCYCLE, _BICYCLE = (
    CITYSCAPES.id_of(n) for n in ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
)
_KINDS = {"car": (_CAR, car), "truck": (_TRUCK, truck), "bus": (_BUS, bus), "train": (_TRAIN, train)}
Group = list[Placed]


@dataclass
class Crowd:
    """Groups of placed things, none standing in another; unknown things stay in view."""

    camera: Camera
    groups: list[Group] = field(default_factory=list)
    areas: list[tuple[float, float, float, float]] = field(default_factory=list)
    shown: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, group: Group, gap: float = 0.25) -> bool:
        """Takes the group in if its first thing finds room; says whether."""
        x0, x1, z0, z1 = footprint(group[0])
        if z0 < 4.2:
            return False
        for a0, a1, b0, b1 in self.areas:
            if x0 - gap < a1 and x1 + gap > a0 and z0 - gap < b1 and z1 + gap > b0:
                return False
        left, right = self.columns(group[0])
        for first, last, z in self.shown:
            if z0 < z and min(right, last) - max(left, first) > 0.35 * (last - first):
                return False
        self.groups.append(group)
        self.areas.append((x0, x1, z0, z1))
        return True

    def room(self, x: float, z: float) -> bool:
        """Whether a thing there may be in view and on free ground: asked before it is built."""
        z = max(z, 1.0)
        column = self.camera.centre + self.camera.focal * (x + self.camera.bend * z * z) / z
        margin = self.camera.focal * 5.0 / z
        if not -margin < column < self.camera.width + margin:
            return False
        return not any(a0 < x < a1 and b0 < z < b1 for a0, a1, b0, b1 in self.areas)

    def columns(self, placed: Placed) -> tuple[float, float]:
        """The image columns that a thing spans, about."""
        x0, x1, z0, z1 = footprint(placed)
        box = np.array([[x0, 0, z0], [x1, 0, z0], [x0, 0, z1], [x1, 0, z1]], np.float32)
        columns = self.camera.project(box)[:, 0]
        return float(columns.min()), float(columns.max())


def add_unknowns(crowd: Crowd, street: Street, rng: np.random.Generator, count: int) -> None:
    """Places that many unknown things of different kinds where the camera sees them."""
    names = list(UNKNOWNS)
    kinds = rng.permutation(len(names))[: max(count, 1)]
    nearest = 1.04 * crowd.camera.eye * crowd.camera.focal / (crowd.camera.height - crowd.camera.horizon)
    done = 0
    for attempt in range(count * 40):
        if done == count:
            break
        thing = UNKNOWNS[names[int(kinds[done % len(kinds)])]](rng)
        z = float(np.exp(rng.uniform(0.0, 1.25))) * max(1.0, thing.height / 1.8) * nearest + thing.half_length
        spread = 0.8 if rng.random() < 0.7 else 0.0
        low, high = street.left + spread, street.right - spread
        if rng.random() < 0.3:
            side = float(rng.choice([-1.0, 1.0]))
            low, high = sorted(
                (side * (street.edge(side) - street.verge), side * (street.edge(side) - street.pavement))
            )
        upright = thing.solids[0].panels[0].normal is None
        yaw = rng.uniform(-0.45, 0.45) + (math.pi if rng.random() < 0.5 and upright else 0.0)
        placed = Placed(thing, IGNORE_INDEX, rng.uniform(low, max(high, low)), z, yaw, anomaly=True)
        left, right = crowd.columns(placed)
        inside = left > -0.2 * (right - left) and right < crowd.camera.width + 0.2 * (right - left)
        if (inside or attempt > count * 30) and crowd.add([placed]):
            crowd.shown.append((left, right, placed.z))
            done += 1


def add_vehicles(crowd: Crowd, street: Street, rng: np.random.Generator) -> None:
    """Trams on rails, crossing traffic, queues in the lanes, parked cars."""
    if street.rails is not None:
        tram = train(rng)
        for _ in range(3):
            z = tram.half_length + rng.uniform(7.0, 16.0)
            if crowd.add([Placed(tram, _TRAIN, street.rails, z, math.pi)]):
                break
    if street.crossing:
        _crossing_traffic(crowd, street.crossing, rng)
    for lane in street.lanes:
        oncoming = lane < street.median
        own = abs(lane) < 0.1
        z = rng.uniform(8.5, 20.0) if own else rng.uniform(6.0, 14.0)
        while z < 75.0:
            if not crowd.room(lane, z + 2.0):
                z += 4.0
                continue
            label, thing = _vehicle(rng, (0.5, 0.24, 0.26, 0.0))
            middle = z + thing.half_length
            clear = street.crossing is None or not street.crossing[0] - 2 < middle < street.crossing[1] + 2
            if clear:
                yaw = (math.pi if oncoming else 0.0) + rng.normal(0.0, 0.03)
                crowd.add([Placed(thing, label, lane + rng.normal(0.0, 0.15), middle, yaw)])
            z = middle + thing.half_length + rng.uniform(2.5, 5.0) + rng.exponential(9.0)
    if street.parking:
        _parked(crowd, street, rng)


def _vehicle(rng: np.random.Generator, chances: tuple[float, ...]) -> tuple[int, Thing]:
    label, build = _KINDS[list(_KINDS)[int(rng.choice(4, p=chances))]]
    return label, build(rng)


def _crossing_traffic(crowd: Crowd, crossing: tuple[float, float], rng: np.random.Generator) -> None:
    near, far = crossing
    for z, heading in ((near + 0.25 * (far - near), 0.5 * math.pi), (near + 0.75 * (far - near), -0.5 * math.pi)):
        for _ in range(int(rng.integers(0, 3))):
            label, thing = _vehicle(rng, (0.38, 0.22, 0.24, 0.16))
            x = rng.uniform(-0.55, 0.55) * z
            crowd.add([Placed(thing, label, x, z, heading + rng.normal(0.0, 0.05))])


def _parked(crowd: Crowd, street: Street, rng: np.random.Generator) -> None:
    for x, yaw in ((street.left + 1.15, math.pi), (street.right - 1.15, 0.0)):
        z = rng.uniform(5.0, 12.0)
        while z < 60.0:
            if rng.random() < 0.45 or not crowd.room(x, z + 2.0):
                z += 5.5
                continue
            label, thing = _vehicle(rng, (0.86, 0.14, 0.0, 0.0))
            middle = z + thing.half_length
            clear = street.crossing is None or not street.crossing[0] - 4 < middle < street.crossing[1] + 4
            if clear:
                crowd.add([Placed(thing, label, x + rng.normal(0.0, 0.08), middle, yaw + rng.normal(0.0, 0.03))])
            z = middle + thing.half_length + rng.uniform(0.8, 2.5)


def _slant(rng: np.random.Generator) -> float:
    """Heading of an upright cut-out: to the left or to the right, a little away from or towards the camera."""
    return rng.uniform(-0.75, 0.75) + (math.pi if rng.random() < 0.5 else 0.0)


def add_riders(crowd: Crowd, street: Street, rng: np.random.Generator) -> None:
    """Cyclists and motorcyclists on the road, some crossing it."""
    for _ in range(int(rng.integers(1, 5))):
        motor = rng.random() < 0.5
        x = rng.uniform(street.left + 0.9, street.right - 0.9)
        z = float(np.exp(rng.uniform(math.log(5.5), math.log(24.0))))
        yaw = _slant(rng)
        mount = motorcycle(rng) if motor else bicycle(rng)
        below = Placed(mount, _MOTORCYCLE if motor else _BICYCLE, x, z, yaw)
        crowd.add([below, Placed(rider(rng, motor), _RIDER, x, z, yaw)])


def add_walkers(crowd: Crowd, street: Street, rng: np.random.Generator) -> None:
    """Persons on both pavements and on the crossing; bicycles and motorcycles parked at the kerb."""
    for side in (-1.0, 1.0):
        kerb = street.right if side > 0 else -street.left
        for _ in range(int(rng.integers(1, 6))):
            x = side * (kerb + rng.uniform(0.5, street.pavement - 0.4))
            z = float(np.exp(rng.uniform(math.log(5.0), math.log(40.0))))
            crowd.add([Placed(person(rng), _PERSON, x, z, _slant(rng) * 0.5)], 0.0)
        for _ in range(int(rng.integers(0, 4))):
            motor = rng.random() < 0.45
            thing = motorcycle(rng) if motor else bicycle(rng)
            x, z = side * (kerb + rng.uniform(0.6, 1.1)), rng.uniform(5.0, 22.0)
            crowd.add([Placed(thing, _MOTORCYCLE if motor else _BICYCLE, x, z, _slant(rng))], 0.0)
    if street.zebra is not None:
        for _ in range(int(rng.integers(0, 4))):
            x = rng.uniform(street.left + 0.4, street.right - 0.4)
            crowd.add([Placed(person(rng), _PERSON, x, street.zebra + rng.uniform(0.6, 2.4), _slant(rng) * 0.4)])
