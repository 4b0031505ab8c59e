"""What charts are made of: shapes with class names, scales and ticks.

Charts hold no colour: the page's style gives it by class, so that one drawing serves light and dark. They are
as wide as a phone, and the page lets them grow a little: their letters stay legible everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Axis", "Chart", "Shape", "clip", "coordinates", "grid", "line", "mark", "text", "ticks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A path or a piece of text.

    Attributes:
        look: class names.
        data: SVG path data; empty for text.
        x: of text, in units of the chart.
        y: baseline of text.
        text: the letters.
        anchor: start, middle or end.
        title: what a pointer that rests on it is told.
    """

    look: str
    data: str = ""
    x: float = 0.0
    y: float = 0.0
    text: str = ""
    anchor: str = "start"
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing.

    Attributes:
        title: heading.
        caption: what is drawn, in a sentence.
        label: the same for those who cannot see it, with the figures that matter.
        width: of the view box.
        height: of the view box.
        shapes: drawn in this order.
    """

    title: str
    caption: str
    label: str
    width: float
    height: float
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale: ``low`` to ``high`` of the data lie at ``begin`` to ``end`` of the chart."""

    low: float
    high: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """Place of a value."""
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about so many: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def coordinates(points: Iterable[tuple[float, float]]) -> str:
    """Path data of a line through points."""
    return "M" + "L".join(f"{round(x, 1):g} {round(y, 1):g}" for x, y in points)


def line(look: str, *points: tuple[float, float], title: str = "") -> Shape:
    """A line through points."""
    return Shape(look=look, data=coordinates(points), title=title)


def mark(look: str, x: float, y: float, title: str = "") -> Shape:
    """A round dot: a line of no length whose caps are round."""
    return Shape(look=f"dot {look}", data=f"M{round(x, 1):g} {round(y, 1):g}h0", title=title)


def text(x: float, y: float, words: str, *, anchor: str = "start", look: str = "", title: str = "") -> Shape:
    """Letters whose baseline begins, is centred or ends at a point."""
    return Shape(
        look=f"word {look}".strip(), x=round(x, 1), y=round(y, 1), text=words, anchor=anchor, title=title
    )


def clip(words: str, letters: int) -> str:
    """Words cut to so many letters; the end stays, for it tells names of sequences apart."""
    if len(words) <= letters:
        return words
    front = letters // 2 - 1
    return f"{words[:front]}..{words[len(words) - (letters - front - 2) :]}"


def grid(axis: Axis, values: Sequence[float], top: float, bottom: float) -> list[Shape]:
    """Upright lines at values, with the numbers below."""
    shapes = [line("grid", (axis.at(v), top), (axis.at(v), bottom)) for v in values]
    return shapes + [text(axis.at(v), bottom + 14, f"{v:g}", anchor="middle", look="tick") for v in values]
