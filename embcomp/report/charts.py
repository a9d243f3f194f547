"""The kinds of picture in a report, each one panel of SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from embcomp.report.svg import (
    SIZE,
    WIDTH,
    apart,
    element,
    label,
    line,
    marker,
    panel,
    path,
    shorten,
    text_width,
    ticks,
    titled,
)

TOP = 10


@dataclass(frozen=True)
class Row:
    """A value with its interval.

    Attributes
    ----------
    kind : int
        Chooses colour and mark: 0 students, 1 probes.
    note : str
        After the value.
    """

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    kind: int = 0
    note: str = ""


def scale_of(rows: Sequence[Row], include: Sequence[float] = ()) -> tuple[float, float]:
    """Ends of an axis that holds every value and interval, with a little room."""
    values = [*include, *(value for row in rows for value in (row.value, row.low, row.high) if math.isfinite(value))]
    low, high = min(values), max(values)
    room = (high - low) * 0.04 or 0.05
    return low - room, high + room


def intervals(
    title: str,
    rows: Sequence[Row],
    scale: tuple[float, float],
    zero: float | None = None,
    write: Callable[[float], str] = "{:.3f}".format,
) -> Element:
    """Dots with intervals, one row each: its label and value above its line.

    Parameters
    ----------
    zero : float, optional
        Mark this value in every row.
    write : callable
        Says a value in words.
    """
    place = _linear(scale, 6, WIDTH - 6)
    step, bottom = 38, TOP + 38 * len(rows)
    parts = []
    for number, row in enumerate(rows):
        y = TOP + step * number
        # Marks of the scale stay below the label, or they would run through it.
        parts.append(line(6, y + 21, WIDTH - 6, y + 21, "grid"))
        parts += [line(place(tick), y + 17, place(tick), y + 25, "grid") for tick in ticks(*scale)]
        if zero is not None:
            parts.append(line(place(zero), y + 13, place(zero), y + 29, "zero"))
        value = write(row.value) + row.note
        room = WIDTH - text_width(value) - 12
        parts.append(titled(label(0, y + 9, shorten(row.label, room)), row.label))
        parts.append(label(WIDTH, y + 9, value, text_anchor="end"))
        if math.isfinite(row.low) and math.isfinite(row.high):
            parts.append(line(place(row.low), y + 21, place(row.high), y + 21, f"span s{row.kind}"))
        parts.append(marker(place(row.value), y + 21, row.kind, f"dot s{row.kind}"))
    return panel(title, bottom + 16, [*parts, *_axis(scale, place, bottom)])


def bars(title: str, rows: Sequence[Row], scale: tuple[float, float] = (0.0, 1.0)) -> Element:
    """Bars from the left, label before and value behind."""
    left = min(120.0, max(text_width(row.label) for row in rows) + 10)
    place = _linear(scale, left, WIDTH - 40)
    parts = []
    for number, row in enumerate(rows):
        y = TOP + 20 * number
        parts.append(titled(label(left - 8, y + 9, shorten(row.label, left - 8), text_anchor="end"), row.label))
        parts.append(element("rect", x=left, y=y - 2, width=place(scale[1]) - left, height=13, class_="rail"))
        width = max(place(row.value) - left, 0.0)
        parts.append(element("rect", x=left, y=y - 2, width=width, height=13, class_=f"bar s{row.kind}"))
        parts.append(label(WIDTH, y + 9, f"{row.value:.2f}", text_anchor="end"))
    return panel(title, TOP + 20 * len(rows), parts)


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    scale: tuple[float, float],
    sides: tuple[str, str],
) -> Element:
    """A heat map with its values written in, but for nought.

    Parameters
    ----------
    values : sequence of sequence of float
        Row by row; NaN leaves the cell empty.
    sides : (str, str)
        What the rows are and what the columns are.
    """
    left = min(110.0 if len(columns) > 4 else 170.0, max(text_width(name, 11) for name in rows) + 8)
    cell = min(max((WIDTH - left) / len(columns), 22.0), 100.0)
    upright = any(text_width(name, 11) > cell - 4 for name in columns)
    head = min(max(text_width(name, 11) for name in columns), 110.0) + 6 if upright else 14
    height = 28 if cell > 34 else cell
    top = TOP + 14 + head
    parts = [label(left, TOP + 2, f"{sides[1]} →", class_="side"), label(0, top - 5, f"{sides[0]} ↓", class_="side")]
    if text_width(sides[0], 10) + 12 > left:
        parts[1] = label(0, TOP + 2, f"{sides[0]} ↓", class_="side")
        parts[0] = label(left + cell * len(columns), TOP + 2, f"{sides[1]} →", class_="side", text_anchor="end")
    for number, name in enumerate(columns):
        x = left + cell * (number + 0.5)
        if upright:
            x += 4
            turned = {"transform": f"rotate(-90 {x:.1f} {top - 5:.1f})"}
            parts.append(titled(label(x, top - 5, shorten(name, head, 11), class_="small", **turned), name))
        else:
            parts.append(label(x, top - 5, name, text_anchor="middle", class_="small"))
    for number, name in enumerate(rows):
        y = top + height * number
        parts.append(
            titled(
                label(left - 6, y + height / 2 + 4, shorten(name, left - 6, 11), text_anchor="end", class_="small"),
                name,
            )
        )
        for place, value in enumerate(values[number]):
            if math.isfinite(value):
                parts += _cell(left + cell * place, y, cell, height, value, scale, f"{name}, {columns[place]}")
    width = max(float(WIDTH), left + cell * len(columns))
    return panel(title, top + height * len(rows) + 2, parts, width)


def _cell(x, y, width, height, value, scale, name) -> list[Element]:
    depth = (value - scale[0]) / ((scale[1] - scale[0]) or 1)
    depth = 0.06 + 0.94 * min(max(depth, 0.0), 1.0)
    box = element("rect", x=x + 0.5, y=y + 0.5, width=width - 1, height=height - 1, fill_opacity=depth, class_="heat")
    # Letters must be readable on every depth of colour, in both themes: see style.css.
    shade = "deep" if depth > 0.8 else "middle" if depth > 0.6 else "pale"
    written = f"{value:.2f}".removeprefix("0") if value else ""
    text = label(x + width / 2, y + height / 2 + 4, written, text_anchor="middle", class_=f"cell {shade}")
    return [titled(box, f"{name}: {value:.3f}"), text]


def traces(
    title: str,
    lines: Sequence[Sequence[tuple[float, float]]],
    marks: Sequence[tuple[float, float]],
    scales: tuple[tuple[float, float], tuple[float, float]],
    x_title: str,
) -> Element:
    """Thin lines of many students in one panel, with a mark on each.

    Parameters
    ----------
    scales : pair of pairs
        Ends of the x and of the y axis.
    """
    x, y = _linear(scales[0], 34, WIDTH - 8), _linear(scales[1], 190, TOP)
    parts = [line(34, y(tick), WIDTH - 8, y(tick), "grid") for tick in ticks(*scales[1])]
    parts += [label(28, y(tick) + 4, f"{tick:g}", text_anchor="end", class_="small") for tick in ticks(*scales[1])]
    for points in lines:
        kept = points[:: max(1, len(points) // 200)]
        parts.append(path([(x(a), y(b)) for a, b in kept], "trace s0"))
    parts += [marker(x(a), y(b), 0, "dot s0", 2.6) for a, b in marks]
    return panel(title, 222, [*parts, *_axis(scales[0], x, 190, x_title)])


@dataclass(frozen=True)
class Series:
    """A named curve with a band: points are (x, value, low, high)."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]


def curves(title: str, series: Sequence[Series], level: tuple[str, float] | None, x_title: str, mark: float) -> Element:
    """Curves over sizes on a scale of doublings, each named at its end.

    Parameters
    ----------
    level : (name, value), optional
        A level to reach: a dashed line.
    mark : float
        The size to point at.
    """
    everything = [point for one in series for point in one.points]
    sizes = sorted({point[0] for point in everything})
    values = [value for point in everything for value in point[1:] if math.isfinite(value)]
    values += [level[1]] if level else []
    right = WIDTH - min(84.0, max(text_width(one.name, 11) for one in series) + 12)
    low, high = min(values), max(values)
    scale = (low - (high - low or 0.1) * 0.05, high + (high - low or 0.1) * 0.05)
    x = _linear((math.log2(sizes[0]), math.log2(sizes[-1]) or 1.0), 34, right)
    y = _linear(scale, 230, TOP)
    parts = [line(34, y(tick), right, y(tick), "grid") for tick in ticks(*scale)]
    parts += [label(28, y(tick) + 4, f"{tick:g}", text_anchor="end", class_="small") for tick in ticks(*scale)]
    if mark in sizes:
        parts.append(line(x(math.log2(mark)), TOP, x(math.log2(mark)), 230, "zero"))
    if level:
        parts.append(line(34, y(level[1]), right, y(level[1]), "level"))
        parts.append(label(38, y(level[1]) - 4, level[0], class_="small halo"))
    ends = []
    for number, one in enumerate(series):
        places = [(x(math.log2(size)), *map(y, rest)) for size, *rest in one.points]
        band = [place for place in places if all(map(math.isfinite, place))]
        if len(band) > 1:
            edge = [(a, low) for a, _, low, _ in band] + [(a, high) for a, _, _, high in reversed(band)]
            parts.append(path(edge, f"band s{number % 8}", close=True))
        parts.append(path([place[:2] for place in places], f"curve s{number % 8}"))
        parts += [titled(marker(a, b, number, f"dot s{number % 8}", 3.5), one.name) for a, b, *_ in places]
        ends.append(places[-1][1])
    for one, number, height in zip(series, range(len(series)), apart(ends, 13, TOP + 4, 228)):
        parts.append(label(right + 7, height + 4, shorten(one.name, 78, 11), class_=f"small name s{number % 8}"))
    shown = sizes if len(sizes) <= 9 else sizes[:: math.ceil(len(sizes) / 9)]
    parts += [label(x(math.log2(size)), 246, f"{size:g}", text_anchor="middle", class_="small") for size in shown]
    parts.append(label((34 + right) / 2, 262, x_title, text_anchor="middle", class_="small"))
    return panel(title, 266, parts)


@dataclass(frozen=True)
class Dot:
    """A point of a trade-off: what it costs and what it scores."""

    key: str
    name: str
    cost: float
    value: float
    low: float = math.nan
    high: float = math.nan


def trade_off(title: str, dots: Sequence[Dot], x_title: str, write: Callable[[float], str]) -> Element:
    """Score against cost, the cost on a logarithmic scale with a place of its own for nothing.

    Parameters
    ----------
    write : callable
        Says a cost in words.
    """
    scale = scale_of([Row("", dot.value, dot.low, dot.high) for dot in dots])
    costs = sorted({dot.cost for dot in dots if dot.cost > 0})
    start = 62 if any(dot.cost <= 0 for dot in dots) else 44
    ends = (math.log(costs[0]), math.log(costs[-1])) if costs else (0.0, 0.0)
    start += 60 if start > 44 else 20
    along = _linear(ends, start, WIDTH - 34) if ends[1] > ends[0] else (lambda value: (start + WIDTH - 34) / 2)
    y = _linear(scale, 230, TOP + 10)
    parts = [line(34, y(tick), WIDTH, y(tick), "grid") for tick in ticks(*scale)]
    parts += [label(28, y(tick) + 4, f"{tick:g}", text_anchor="end", class_="small") for tick in ticks(*scale)]
    columns: dict[float, list[Dot]] = {}
    for dot in dots:
        columns.setdefault(dot.cost, []).append(dot)
    for cost, same in sorted(columns.items()):
        x = along(math.log(cost)) if cost > 0 else 62.0
        same = sorted(same, key=lambda dot: dot.value)
        # Points of one cost are set side by side, or their intervals would hide each other.
        offsets = [(number - (len(same) - 1) / 2) * min(11.0, 60 / len(same)) for number in range(len(same))]
        for dot, offset in zip(same, offsets):
            if math.isfinite(dot.low) and math.isfinite(dot.high):
                parts.append(line(x + offset, y(dot.low), x + offset, y(dot.high), "span s0"))
            parts.append(titled(marker(x + offset, y(dot.value), 0, "dot s0", 4), dot.name))
            top = y(dot.high if math.isfinite(dot.high) else dot.value) - 7
            parts.append(label(x + offset, top, dot.key, text_anchor="middle", class_="small"))
        parts.append(label(x, 246, write(cost), text_anchor="middle", class_="small"))
    parts.append(label((34 + WIDTH) / 2, 262, x_title, text_anchor="middle", class_="small"))
    return panel(title, 266, parts)


def strip(span: tuple[float, float, float], scale: tuple[float, float]) -> Element:
    """An interval as a thin strip inside a table; hidden from screen readers, which read the numbers."""
    place = _linear(scale, 3, 97)
    low, value, high = span
    parts = [line(3, 5, 97, 5, "rail")]
    if math.isfinite(low) and math.isfinite(high):
        parts.append(line(place(low), 5, place(high), 5, "span s0"))
    parts.append(element("circle", cx=place(value), cy=5, r=3, class_="dot s0"))
    made = Element(
        "svg", {"viewBox": "0 0 100 10", "preserveAspectRatio": "xMinYMid", "class": "strip", "aria-hidden": "true"}
    )
    made.extend(parts)
    return made


def _linear(scale: tuple[float, float], start: float, end: float) -> Callable[[float], float]:
    width = (scale[1] - scale[0]) or 1.0
    return lambda value: start + (value - scale[0]) / width * (end - start)


def _axis(scale, place, bottom: float, title: str = "") -> list[Element]:
    parts = [
        label(min(max(place(tick), 9), WIDTH - 9), bottom + 13, f"{tick:g}", text_anchor="middle", class_="small")
        for tick in ticks(*scale)
    ]
    if title:
        parts.append(label(WIDTH / 2, bottom + SIZE + 16, title, text_anchor="middle", class_="small"))
    return parts
