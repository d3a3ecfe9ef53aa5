"""What is seen in a made-up street: the street itself, vehicles, people."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mover", "movers", "street"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Color = tuple[int, int, int]

_PAINTS: tuple[Color, ...] = ((190, 40, 35), (40, 70, 160), (225, 225, 220), (50, 50, 55), (200, 160, 40))
_CLOTHES: tuple[Color, ...] = ((150, 50, 60), (50, 110, 70), (60, 70, 130), (190, 180, 150))
_SKIN: Color = (200, 160, 130)
_GLASS: Color = (120, 150, 170)
_TYRE: Color = (25, 25, 25)
_LAMP: Color = (255, 250, 210)
_TAIL_LAMP: Color = (220, 30, 30)
_KEY: Color = (255, 0, 255)
"""Pixels of this colour are transparent."""

_ROAD_TOP, _ROAD_BOTTOM = 0.55, 0.92
"""The road's edges, as fractions of the height."""


@dataclass(frozen=True, slots=True)
class Mover:
    """Something that crosses the picture, again and again, and is back at its start at the end."""

    poses: tuple[tuple[Image, Mask], ...]
    top: int
    start: float
    """Where on its lap it is at the start, 0 to 1."""
    laps: int
    """Crossings a scene; negative: from right to left."""
    steps: int
    """Changes of pose a scene."""

    def draw(self, frame: Image, progress: float) -> None:
        """Draws it where it is at a moment of the scene (0 to 1)."""
        picture, mask = self.poses[int(progress * self.steps) % len(self.poses)]
        height, width = mask.shape
        lap = frame.shape[1] + width
        left = int((self.start + progress * self.laps) % 1 * lap) - width
        first, last = max(0, -left), min(width, frame.shape[1] - left)
        bottom = min(height, frame.shape[0] - self.top)
        if first < last and bottom > 0:
            room = frame[self.top : self.top + bottom, left + first : left + last]
            np.copyto(room, picture[:bottom, first:last], where=mask[:bottom, first:last, None])


def street(width: int, height: int, *, night: bool, random: np.random.Generator) -> Image:
    """The street without anything that moves."""
    frame: Image = np.empty((height, width, 3), np.uint8)
    sky = np.linspace(0, 1, height)[:, None]
    frame[:] = ((150, 190, 225) + sky * np.array((60, 40, 20))).astype(np.uint8)[:, None, :]
    horizon, road_top, road_bottom = (int(height * part) for part in (0.48, _ROAD_TOP, _ROAD_BOTTOM))
    left = 0
    while left < width:
        size = int(width * random.uniform(0.08, 0.2)) + 1
        top = int(height * random.uniform(0.14, 0.34))
        wall = random.integers(110, 200, size=3)
        frame[top:horizon, left : left + size] = wall
        step = max(6, height // 18)
        for row in range(top + step // 2, horizon - step, step):
            for column in range(left + step // 2, min(left + size, width) - step // 2, step):
                lit = night and random.random() < 0.3
                pane = (255, 230, 150) if lit else wall * 0.5
                frame[row : row + step // 2, column : column + step // 2] = pane
        left += size
    frame[horizon:] = (150, 148, 140)
    frame[road_top:road_bottom] = (82, 82, 86)
    middle, line = (road_top + road_bottom) // 2, max(1, height // 120)
    dash = max(8, width // 20)
    for column in range(0, width, 2 * dash):
        frame[middle : middle + line, column : column + dash] = (235, 235, 225)
    frame[road_top : road_top + line] = frame[road_bottom - line : road_bottom] = (210, 210, 200)
    if night:
        frame = _darken(frame, road_top)
    return frame


def _darken(frame: Image, lamp_row: int) -> Image:
    """Night with street lamps; lit windows stay bright."""
    height, width = frame.shape[:2]
    row, column = np.ogrid[:height, :width]
    light = np.full((height, width), 0.22)
    for lamp in range(3):
        centre = width * (2 * lamp + 1) / 6
        distance = ((column - centre) / (width * 0.12)) ** 2 + ((row - lamp_row) / (height * 0.25)) ** 2
        light += 0.4 * np.exp(-distance)
    light[(frame == (255, 230, 150)).all(axis=2)] = 0.9
    dark: Image = (frame * light[:, :, None]).astype(np.uint8)
    return dark


def movers(width: int, height: int, *, night: bool, random: np.random.Generator) -> list[Mover]:
    """Vehicles on both lanes and people on both pavements, the farthest first."""
    light = 0.4 if night else 1.0
    road = height * (_ROAD_BOTTOM - _ROAD_TOP)
    found = []
    for row, direction in ((_ROAD_TOP, -1), (_ROAD_BOTTOM - 0.02, 1)):
        tall = int(height * (0.14 if direction < 0 else 0.18))
        found += [
            _person(int(height * row) - tall, tall, direction, light, random)
            for _ in range(2 if direction < 0 else 0)
        ]
    for lane, direction in ((0.42, -1), (0.92, 1)):
        start = random.random()
        for number in range(2):
            tall = int(road * random.uniform(0.42, 0.55))
            top = int(height * _ROAD_TOP + road * lane) - tall
            paint = _PAINTS[random.integers(len(_PAINTS))]
            laps = direction * int(random.integers(1, 3)) if number == 0 else found[-1].laps
            picture = _vehicle(tall, paint, truck=random.random() < 0.3, night=night)
            picture = picture if direction > 0 else picture[:, ::-1]
            place = (start + number * random.uniform(0.4, 0.6)) % 1
            found.append(Mover((_keyed(picture, 0.6 if night else 1.0),), top, place, laps, 1))
    tall = int(height * 0.2)
    found += [_person(height - tall - 2, tall, side, light, random) for side in (1, -1)]
    return found


def _vehicle(tall: int, paint: Color, *, truck: bool, night: bool) -> Image:
    wide = int(tall * (3.0 if truck else 2.3))
    picture = np.full((tall, wide, 3), _KEY, np.uint8)
    wheel = max(2, tall // 4)
    body_bottom = tall - wheel // 2
    if truck:
        picture[:body_bottom, : int(wide * 0.7)] = tuple(int(c * 0.8) for c in paint)
        picture[tall // 4 : body_bottom, int(wide * 0.72) :] = paint
        picture[tall // 3 : tall // 2, int(wide * 0.86) : wide - 1] = _GLASS
    else:
        picture[tall // 2 : body_bottom] = paint
        picture[tall // 8 : tall // 2, wide // 5 : int(wide * 0.78)] = paint
        picture[tall // 5 : tall // 2, int(wide * 0.26) : int(wide * 0.48)] = _GLASS
        picture[tall // 5 : tall // 2, int(wide * 0.52) : int(wide * 0.74)] = _GLASS
    row, column = np.ogrid[:tall, :wide]
    for centre in (wide * 0.2, wide * 0.8):
        picture[(row - (tall - wheel / 2)) ** 2 + (column - centre) ** 2 <= (wheel / 2) ** 2 * 1.6] = _TYRE
    lamp = max(1, tall // 8)
    lamp_top = int(tall * 0.58)
    picture[lamp_top : lamp_top + lamp, -lamp:] = _LAMP if night else (240, 240, 230)
    picture[lamp_top : lamp_top + lamp, :lamp] = _TAIL_LAMP
    return picture


def _person(top: int, tall: int, direction: int, light: float, random: np.random.Generator) -> Mover:
    clothes = _CLOTHES[random.integers(len(_CLOTHES))]
    trousers: Color = (50, 50, 70)
    wide = max(6, tall // 2)
    poses = []
    for stride in (0.05, 0.3):
        picture = np.full((tall, wide, 3), _KEY, np.uint8)
        middle, half = wide // 2, max(1, wide // 6)
        picture[: tall // 5, middle - half : middle + half] = _SKIN
        picture[tall // 5 : int(tall * 0.58), middle - half - 1 : middle + half + 1] = clothes
        for row in range(int(tall * 0.58), tall):
            spread = int(wide * stride * (row - tall * 0.58) / (tall * 0.42))
            for leg in (middle - spread, middle + spread):
                picture[row, max(0, leg - half // 2 - 1) : leg + half // 2 + 1] = trousers
        poses.append(_keyed(picture, light))
    return Mover(tuple(poses), top, random.random(), direction, 40)


def _keyed(picture: Image, light: float) -> tuple[Image, Mask]:
    mask = (picture != _KEY).any(axis=2)
    lamps = (picture == _LAMP).all(axis=2) | (picture == _TAIL_LAMP).all(axis=2)
    shade = np.where(lamps, 1.0, light)[:, :, None]
    return np.ascontiguousarray((picture * shade).astype(np.uint8)), np.ascontiguousarray(mask)
