"""What the synthetic cameras look at: small illustrated scenes of a city, one kind and one colour per camera.

Pure drawing from a seed: the same camera looks the same at every start. Called by `camera`.
"""

from __future__ import annotations

import colorsys
import math
import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from pancar_cli.demo.picture import Colour, Mover, Picture, Sprite, draw

# All coordinates below are for a picture 640 by 360, scaled by height.
_WIDTH, _HEIGHT = 640, 360


class _Stage:
    """Palette, randomness and scale of one scene."""

    def __init__(self, index: int, width: int, height: int) -> None:
        # The golden angle keeps the colours of neighbours apart, however many there are.
        self.hue = (0.55 + index * 0.381966) % 1
        self.random = random.Random(index)  # noqa: S311 - decoration
        self.width, self.height = width, height
        self.unit = height / _HEIGHT
        self.across = width / self.unit

    def colour(self, saturation: float, value: float, shift: float = 0.0) -> Colour:
        red, green, blue = colorsys.hsv_to_rgb((self.hue + shift) % 1, saturation, value)
        return round(red * 255), round(green * 255), round(blue * 255)

    def sprite(self, width: float, height: float, paint: Callable[[ImageDraw.ImageDraw, float], None]) -> Sprite:
        """A sprite of a size in units; `paint` gets the scale from units to its pixels."""
        size = math.ceil(width * self.unit), math.ceil(height * self.unit)
        return Sprite(draw(*size, lambda pen, scale: paint(pen, scale * self.unit)))

    def passing(self, sprite: Sprite, top: float, speed: float, phase: float, gap: float = 0.0) -> Mover:
        """Crosses from one side to the other again and again; speed in units a second, negative to the left."""
        distance = self.width + sprite.width + gap * self.unit
        pace, y = speed * self.unit, top * self.unit

        def at(moment: float) -> tuple[float, float]:
            travelled = (pace * (moment % 86_400) + phase * distance) % distance
            return travelled - sprite.width, y

        return Mover(sprite, at)

    def bobbing(self, sprite: Sprite, x: float, y: float, swing: tuple[float, float], period: float) -> Mover:
        """Swings about a point."""
        offset = self.random.random() * math.tau

        def at(moment: float) -> tuple[float, float]:
            angle = moment % 86_400 / period * math.tau + offset
            return (x + swing[0] * math.sin(angle)) * self.unit, (y + swing[1] * math.sin(2 * angle)) * self.unit

        return Mover(sprite, at)


def scene(index: int, name: str, width: int, height: int) -> Picture:
    """The picture of camera `index`. Width and height are even."""
    stage = _Stage(index, width, height)
    kinds = (_street, _river, _railway, _bay)
    background, movers = kinds[index % len(kinds)](stage)
    return Picture(background, movers, name, stage.colour(0.55, 1.0, 0.5))


def _background(stage: _Stage, paint: Callable[[ImageDraw.ImageDraw, float], None], low: Colour) -> Image.Image:
    """A sky that runs from night at the top to `low` at the horizon, and `paint` over it."""
    high = stage.colour(0.6, 0.18)
    mask = Image.linear_gradient("L").resize((stage.width, stage.height))
    sky = Image.composite(Image.new("RGB", mask.size, low), Image.new("RGB", mask.size, high), mask)
    front = draw(stage.width, stage.height, lambda pen, scale: paint(pen, scale * stage.unit))
    sky.paste(front, (0, 0), front)
    return sky


def _skyline(stage: _Stage, pen: ImageDraw.ImageDraw, s: float, ground: float) -> None:
    x = -10.0
    while x < stage.across:
        width, height = stage.random.uniform(34, 70), stage.random.uniform(50, 170)
        shade = stage.colour(0.45, stage.random.uniform(0.2, 0.32))
        pen.rectangle((x * s, (ground - height) * s, (x + width) * s, ground * s), (*shade, 255))
        for column in range(int(width // 12)):
            for row in range(int(height // 14)):
                if stage.random.random() < 0.4:
                    left, top = x + 5 + column * 12, ground - height + 7 + row * 14
                    pen.rectangle((left * s, top * s, (left + 5) * s, (top + 6) * s), (255, 214, 140, 190))
        x += width + stage.random.uniform(-4, 10)


def _vehicle(stage: _Stage, forward: bool) -> Sprite:
    length = stage.random.choice((44, 48, 52, 96))
    body = stage.colour(stage.random.uniform(0.2, 0.75), stage.random.uniform(0.65, 0.95), stage.random.random())

    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        roof = (4, 0, length - 4, 16) if length > 60 else (11, 0, length - 12, 16)
        pen.rounded_rectangle(tuple(value * s for value in roof), 5 * s, (*body, 255))
        pen.rounded_rectangle((0, 9 * s, length * s, 23 * s), 4 * s, (*body, 255))
        for left in range(int(roof[0]) + 4, int(roof[2]) - 8, 15):
            pen.rectangle((left * s, 3 * s, (left + 11) * s, 10 * s), (30, 40, 56, 255))
        for x in (11, length - 11):
            pen.ellipse(((x - 6) * s, 17 * s, (x + 6) * s, 29 * s), (18, 20, 26, 255))
        front, rear = (length - 5, 0) if forward else (0, length - 5)
        pen.rectangle((front * s, 13 * s, (front + 5) * s, 17 * s), (255, 246, 204, 255))
        pen.rectangle((rear * s, 13 * s, (rear + 5) * s, 17 * s), (238, 66, 58, 255))

    return stage.sprite(length, 30, paint)


def _street(stage: _Stage) -> tuple[Image.Image, list[Mover]]:
    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        _skyline(stage, pen, s, 214)
        pen.rectangle((0, 210 * s, stage.across * s, 230 * s), (*stage.colour(0.15, 0.42), 255))
        pen.rectangle((0, 230 * s, stage.across * s, 344 * s), (44, 47, 55, 255))
        for x in range(10, int(stage.across), 64):
            pen.rectangle((x * s, 286 * s, (x + 34) * s, 289 * s), (216, 206, 160, 255))
        pen.rectangle((0, 344 * s, stage.across * s, 360 * s), (*stage.colour(0.15, 0.3), 255))

    movers = []
    for lane, (top, speed) in enumerate(((236, -74.0), (256, -98.0), (290, 112.0), (312, 86.0))):
        for place in range(2):
            vehicle = _vehicle(stage, speed > 0)
            movers.append(stage.passing(vehicle, top, speed, (place + stage.random.uniform(0, 0.6)) / 2 + lane * 0.13))
    return _background(stage, paint, stage.colour(0.5, 0.85, 0.08)), movers


def _river(stage: _Stage) -> tuple[Image.Image, list[Mover]]:
    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        _skyline(stage, pen, s, 170)
        pen.ellipse((-90 * s, 130 * s, 280 * s, 300 * s), (*stage.colour(0.5, 0.3, 0.75), 255))
        pen.ellipse((300 * s, 140 * s, (stage.across + 120) * s, 320 * s), (*stage.colour(0.5, 0.25, 0.75), 255))
        pen.rectangle((0, 222 * s, stage.across * s, 360 * s), (*stage.colour(0.55, 0.42), 255))

    def wave(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.rounded_rectangle((0, 0, 86 * s, 4 * s), 2 * s, (*stage.colour(0.25, 0.85), 120))

    def staff(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.rectangle((0, 0, 18 * s, 150 * s), (238, 240, 242, 255))
        for step in range(15):
            pen.rectangle(((0 if step % 2 else 9) * s, step * 10 * s, 18 * s, (step * 10 + 5) * s), (196, 40, 44, 255))

    movers = [
        stage.passing(stage.sprite(86, 4, wave), top, 26 + row * 9, stage.random.random())
        for row, top in enumerate((234, 248, 264, 282, 300, 318, 334))
    ]
    movers.append(stage.bobbing(stage.sprite(18, 150, staff), 520, 192, (0, 0), 10))
    # The level before the staff rises and falls, as a flood camera sees it.
    water = Image.new("RGBA", (round(18 * stage.unit), round(110 * stage.unit)), (*stage.colour(0.55, 0.42), 235))
    movers.append(stage.bobbing(Sprite(water), 520, 268, (0, 16), 24))
    movers.append(stage.passing(_boat(stage), 226, 22, stage.random.random(), 90))
    return _background(stage, paint, stage.colour(0.35, 0.8, 0.04)), movers


def _boat(stage: _Stage) -> Sprite:
    hull = stage.colour(0.7, 0.75, 0.45)

    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.polygon([(x * s, y * s) for x, y in ((0, 44), (92, 44), (78, 60), (12, 60))], (*hull, 255))
        pen.polygon([(x * s, y * s) for x, y in ((46, 2), (46, 40), (82, 40))], (244, 240, 228, 255))
        pen.polygon([(x * s, y * s) for x, y in ((41, 10), (41, 40), (16, 40))], (222, 218, 206, 255))

    return stage.sprite(92, 60, paint)


def _railway(stage: _Stage) -> tuple[Image.Image, list[Mover]]:
    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        _skyline(stage, pen, s, 190)
        pen.rectangle((0, 186 * s, stage.across * s, 360 * s), (*stage.colour(0.35, 0.24, 0.8), 255))
        pen.rectangle((0, 232 * s, stage.across * s, 254 * s), (92, 84, 78, 255))
        for x in range(0, int(stage.across), 16):
            pen.rectangle((x * s, 240 * s, (x + 9) * s, 246 * s), (60, 52, 46, 255))
        pen.rectangle((0, 236 * s, stage.across * s, 239 * s), (176, 180, 186, 255))
        pen.rectangle((0, 270 * s, stage.across * s, 344 * s), (46, 49, 57, 255))
        for x in range(24, int(stage.across), 64):
            pen.rectangle((x * s, 306 * s, (x + 34) * s, 308 * s), (216, 206, 160, 255))

    def train(pen: ImageDraw.ImageDraw, s: float) -> None:
        for wagon in range(4):
            left = wagon * 134
            pen.rounded_rectangle((left * s, 0, (left + 130) * s, 56 * s), 8 * s, (*stage.colour(0.65, 0.8), 255))
            pen.rectangle((left * s, 34 * s, (left + 130) * s, 42 * s), (244, 240, 228, 255))
            for window in range(5):
                x = left + 9 + window * 24
                pen.rounded_rectangle((x * s, 11 * s, (x + 16) * s, 27 * s), 3 * s, (255, 226, 160, 255))

    def bird(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.arc((0, 0, 12 * s, 10 * s), 190, 350, (230, 232, 240, 220), round(2 * s))
        pen.arc((11 * s, 0, 23 * s, 10 * s), 190, 350, (230, 232, 240, 220), round(2 * s))

    movers = [stage.passing(stage.sprite(534, 56, train), 180, 150, stage.random.random(), 260)]
    for index in range(3):
        phase = stage.random.random()
        movers.append(stage.passing(stage.sprite(24, 10, bird), 62 + index * 22, 34 + index * 7, phase))
    for top, speed in ((276, 58.0), (311, -72.0)):
        movers.append(stage.passing(_vehicle(stage, speed > 0), top, speed, stage.random.random()))
    return _background(stage, paint, stage.colour(0.45, 0.9, 0.1)), movers


def _bay(stage: _Stage) -> tuple[Image.Image, list[Mover]]:
    def paint(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.ellipse((430 * s, 66 * s, 494 * s, 130 * s), (255, 236, 190, 255))
        hill = stage.colour(0.45, 0.34)
        pen.polygon([(x * s, y * s) for x, y in ((-40, 210), (120, 96), (280, 210))], (*hill, 255))
        pen.polygon([(x * s, y * s) for x, y in ((150, 210), (300, 128), (470, 210))], (*stage.colour(0.4, 0.42), 255))
        pen.rectangle((0, 208 * s, stage.across * s, 360 * s), (*stage.colour(0.5, 0.38), 255))
        for row in range(9):
            reach = 18 + row * 7
            top = 214 + row * 15
            pen.rectangle(((462 - reach) * s, top * s, (462 + reach) * s, (top + 4) * s), (255, 226, 170, 90))

    def crest(pen: ImageDraw.ImageDraw, s: float) -> None:
        pen.arc((0, 0, 60 * s, 22 * s), 200, 340, (*stage.colour(0.2, 0.9), 150), round(3 * s))

    movers = [
        stage.passing(stage.sprite(60, 12, crest), 222 + row * 17, -(18.0 + row * 6), stage.random.random())
        for row in range(7)
    ]
    for top, speed in ((190, 24.0), (216, -31.0), (258, 40.0)):
        movers.append(stage.passing(_boat(stage), top, speed, stage.random.random(), 40))
    return _background(stage, paint, stage.colour(0.5, 0.95, 0.06)), movers
