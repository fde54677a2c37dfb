"""Line charts as SVG that a page shows in its own colours, light and dark, and that can be taken out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 500, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44
COLOURS = 8
"""Series that are told apart by colour; their markers differ, too."""


@dataclass(frozen=True)
class Point:
    """One point of a series: a value, an interval around it, and the single values that it is the mean of."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    single: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Series:
    """A line of a chart."""

    name: str
    points: tuple[Point, ...]
    marks: bool = True
    number: int = 0
    """Of its colour and marker."""


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: read by screen readers, and the name of the file when it is saved.
        x_title, y_title: at the axes.
        series: lines.
        ticks: (x, label) along the axis; empty: round numbers.
    """

    title: str
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    ticks: tuple[tuple[float, str], ...] = ()


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count`."""
    if not high > low:
        low, high = low - 1, high + 1
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def draw(chart: Chart) -> Markup:
    """The chart as SVG. Text is escaped; colours are the page's, by class (`s0` ... `s7`)."""
    from markupsafe import Markup

    points = [point for series in chart.series for point in series.points]
    if not points:
        return Markup("")
    xs = [point.x for point in points] + [x for x, _ in chart.ticks]
    ys = [v for p in points for v in (p.y, p.low, p.high, *p.single) if v is not None]
    low, high = min(ys), max(ys)
    room = 0.06 * (high - low) or 1.0
    low, high = (0.0 if 0 <= low < room else low - room), high + room
    left, right = min(xs), max(xs)
    if chart.ticks:
        left, right = left - 0.4, right + 0.4
    plane = _Plane(left, right if right > left else left + 1, low, high)
    parts = [f"<title>{escape(chart.title)}</title>", *_axes(chart, plane)]
    for series in chart.series:
        parts += _series(series, plane)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Plane:
    left: float
    right: float
    low: float
    high: float

    def x(self, value: float) -> float:
        return round(_LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        return round(HEIGHT - _BOTTOM - (value - self.low) / (self.high - self.low) * (HEIGHT - _TOP - _BOTTOM), 2)


def _axes(chart: Chart, plane: _Plane) -> list[str]:
    parts = []
    for value in round_ticks(plane.low, plane.high):
        y = plane.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 7}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    bottom = HEIGHT - _BOTTOM
    ticks = chart.ticks or tuple((value, f"{value:,g}") for value in round_ticks(plane.left, plane.right, 6))
    for value, label in ticks:
        x = plane.x(value)
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 17}" text-anchor="middle">{escape(label)}</text>')
    middle = (_TOP + bottom) / 2
    return [
        *parts,
        f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>',
        f'<text class="label" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(chart.x_title)}</text>",
        f'<text class="label" x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">'
        f"{escape(chart.y_title)}</text>",
    ]


def _series(series: Series, plane: _Plane) -> list[str]:
    colour = f"s{series.number % COLOURS}"
    places = [(plane.x(point.x), plane.y(point.y)) for point in series.points]
    line = " ".join(f"{x},{y}" for x, y in places)
    parts = [f'<polyline class="line {colour}" points="{line}"/>']
    for point, (x, y) in zip(series.points, places, strict=True):
        for value in point.single:
            parts.append(f'<circle class="single {colour}" cx="{x}" cy="{plane.y(value)}" r="2"/>')
        if point.low is not None and point.high is not None:
            low, high = plane.y(point.low), plane.y(point.high)
            parts.append(f'<path class="bar {colour}" d="M{x} {low}V{high}M{x - 4} {low}h8M{x - 4} {high}h8"/>')
        if series.marks:
            told = escape(f"{series.name}: {point.note or f'{point.y:.4g}'}")
            parts.append(
                f'<g class="mark {colour}" tabindex="-1">{_marker(series.number, x, y)}<title>{told}</title></g>'
            )
    return parts


def legend(series: tuple[Series, ...]) -> list[tuple[str, Markup]]:
    """Name and marker of each series."""
    from markupsafe import Markup

    def key(one: Series) -> Markup:
        mark = f'<g class="mark s{one.number % COLOURS}">{_marker(one.number, 7, 7)}</g>'
        return Markup(f'<svg class="key" viewBox="0 0 14 14" aria-hidden="true">{mark}</svg>')

    return [(one.name, key(one)) for one in series]


def _marker(number: int, x: float, y: float) -> str:
    shapes = (
        f'<circle cx="{x}" cy="{y}" r="4"/>',
        f'<rect x="{x - 3.5}" y="{y - 3.5}" width="7" height="7"/>',
        f'<path d="M{x} {y - 5}l5 5l-5 5l-5 -5z"/>',
        f'<path d="M{x} {y - 4.5}l4.5 8h-9z"/>',
        f'<path d="M{x} {y + 4.5}l4.5 -8h-9z"/>',
    )
    return shapes[number % len(shapes)]
