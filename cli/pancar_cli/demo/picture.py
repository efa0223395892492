"""Pictures composed plane by plane: everything is drawn once, then each frame is a copy and a few pastes.

A picture is three 8-bit planes in the encoder's own layout (yuv420p), so that a frame costs no colour conversion.
Used by `scenes`, which draws the parts, and by `camera`, which encodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import av
from PIL import Image, ImageDraw, ImageFont

from pancar_cli.demo import timecode

Planes = tuple[Image.Image, Image.Image, Image.Image]
Colour = tuple[int, int, int]

# Drawn larger, then reduced: smooth edges, once.
_OVERSAMPLING = 3
_PLATE = (12, 16, 24, 176)


def planes(picture: Image.Image) -> Planes:
    """A picture of even size as Y, U and V, in limited range."""
    rgb = av.VideoFrame(picture.width, picture.height, "rgb24")
    line, row = rgb.planes[0].line_size, picture.width * 3
    data = picture.convert("RGB").tobytes()
    rgb.planes[0].update(b"".join(data[at : at + row].ljust(line, b"\0") for at in range(0, len(data), row)))
    frame = rgb.reformat(format="yuv420p")
    y, u, v = (
        Image.frombytes("L", (plane.line_size, plane.height), bytes(plane)).crop((0, 0, plane.width, plane.height))
        for plane in frame.planes
    )
    return y, u, v


def draw(width: int, height: int, paint: Callable[[ImageDraw.ImageDraw, float], None]) -> Image.Image:
    """An RGBA picture; `paint` gets a pencil and the scale to multiply every coordinate with."""
    large = Image.new("RGBA", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    paint(ImageDraw.Draw(large, "RGBA"), _OVERSAMPLING)
    return large.resize((width, height), Image.Resampling.LANCZOS)


class Sprite:
    """A part that moves, with its transparency. Its size is rounded up to even numbers."""

    def __init__(self, picture: Image.Image) -> None:
        width, height = picture.width + picture.width % 2, picture.height + picture.height % 2
        padded = Image.new("RGBA", (width, height))
        padded.paste(picture)
        alpha = padded.getchannel("A")
        self.width, self.height = width, height
        self._planes = planes(padded)
        self._masks = (alpha, *[alpha.resize((width // 2, height // 2), Image.Resampling.BOX)] * 2)

    def paste(self, target: Planes, x: int, y: int) -> None:
        """Puts it onto a frame at any place, also partly or wholly outside."""
        for index, (plane, part, mask) in enumerate(zip(target, self._planes, self._masks, strict=True)):
            half = 1 if index else 0
            plane.paste(part, (x >> half, y >> half), mask)


@dataclass(frozen=True, slots=True)
class Mover:
    """A sprite and where it is at a time in seconds."""

    sprite: Sprite
    at: Callable[[float], tuple[float, float]]


class Picture:
    """A background, movers, and over them the camera's name, its clock, a sweeping mark and the timecode."""

    def __init__(self, background: Image.Image, movers: Iterable[Mover], name: str, accent: Colour) -> None:
        self.width, self.height = background.size
        self._unit = self.height / 360
        self._font = ImageFont.load_default(round(17 * self._unit))
        self._movers = list(movers)
        self._digits = {character: self._glyph(character) for character in "0123456789:."}
        self._clock_at = self._plates(background, name)
        self._background = planes(background)
        self._strip = self.height - self.height // 45
        self._mark = Sprite(_mark(round(56 * self._unit), max(2, round(4 * self._unit)), accent))

    def at(self, moment: float) -> Planes:
        """The frame of a moment in Unix seconds."""
        frame = tuple(plane.copy() for plane in self._background)
        y, u, v = frame
        for mover in self._movers:
            left, top = mover.at(moment)
            mover.sprite.paste((y, u, v), round(left), round(top))
        # Crosses the picture every two seconds: a picture that stands still is seen to stand still.
        sweep = moment / 2 % 1 * (self.width + self._mark.width) - self._mark.width
        self._mark.paste((y, u, v), round(sweep), self._strip - self._mark.height - 2)
        self._paste_clock(y, moment)
        self._paste_timecode((y, u, v), moment)
        return y, u, v

    def _glyph(self, character: str) -> Image.Image:
        width = max(round(self._font.getlength(digit)) for digit in "0123456789") if character.isdigit() else None
        advance = width or round(self._font.getlength(character))
        glyph = Image.new("L", (advance + 1, round(26 * self._unit)), 0)
        ImageDraw.Draw(glyph).text((advance / 2, glyph.height / 2), character, 255, self._font, anchor="mm")
        return glyph

    def _plates(self, background: Image.Image, name: str) -> tuple[int, int]:
        """Draws the name and the clock's plate into the background; returns where the clock's digits start."""
        pen, unit = ImageDraw.Draw(background, "RGBA"), self._unit
        margin, top, height = 10 * unit, 10 * unit, 28 * unit
        width = self._font.getlength(name) + 20 * unit
        pen.rounded_rectangle((margin, top, margin + width, top + height), 6 * unit, _PLATE)
        pen.text((margin + 10 * unit, top + height / 2), name, (245, 247, 250), self._font, anchor="lm")
        clock = sum(self._digits[character].width - 1 for character in "00:00:00.000")
        left = self.width - margin - clock - 20 * unit
        pen.rounded_rectangle((left, top, self.width - margin, top + height), 6 * unit, _PLATE)
        return round(left + 10 * unit), round(top + unit)

    def _paste_clock(self, y: Image.Image, moment: float) -> None:
        milliseconds = int(moment * 1000)
        text = time.strftime("%H:%M:%S", time.localtime(milliseconds // 1000)) + f".{milliseconds % 1000:03}"
        x, top = self._clock_at
        for character in text:
            glyph = self._digits[character]
            y.paste(235, (x, top), glyph)
            x += glyph.width - 1

    def _paste_timecode(self, frame: Planes, moment: float) -> None:
        y, u, v = frame
        y.paste(timecode.DARK, (0, self._strip, self.width, self.height))
        for chroma in (u, v):
            chroma.paste(128, (0, self._strip // 2, chroma.width, chroma.height))
        for index, bright in enumerate(timecode.cells(int(moment * 1000))):
            if bright:
                left, right = index * self.width // timecode.CELLS, (index + 1) * self.width // timecode.CELLS
                y.paste(timecode.BRIGHT, (left, self._strip, right, self.height))


def _mark(width: int, height: int, colour: Colour) -> Image.Image:
    mark = Image.new("RGBA", (width, height), (*colour, 255))
    mark.putalpha(Image.linear_gradient("L").rotate(90).resize((width, height)))
    return mark
