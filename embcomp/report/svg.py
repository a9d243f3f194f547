"""Small pieces of SVG, built as elements so that no label can become markup."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement

WIDTH = 340  # of a panel in its own units, so that on a phone one unit is about one pixel
SIZE = 12  # of its letters
# C0 and C1 controls but tab and newline, marks that reverse the direction of text, halves of surrogate pairs, non-characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(text: object) -> str:
    """Text that a page can show: what cannot be shown becomes U+FFFD."""
    return _UNPRINTABLE.sub("\ufffd", str(text))


def element(tag: str, *children: Element | str, **attributes: object) -> Element:
    """An element; ``class_`` and ``stroke_width`` mean ``class`` and ``stroke-width``, None leaves an attribute out."""
    made = Element(
        tag,
        {name.rstrip("_").replace("_", "-"): _number(value) for name, value in attributes.items() if value is not None},
    )
    last = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + clean(child)
        else:
            last.tail = (last.tail or "") + clean(child)
    return made


def panel(title: str, height: float, parts: Iterable[Element], width: float = WIDTH) -> Element:
    """An ``svg`` with its title, which the page also shows above it."""
    # Attributes of SVG keep their capitals, which keyword arguments of `element` would allow too, but not the reader.
    made = Element("svg", {"viewBox": f"0 0 {_number(width)} {_number(height)}", "role": "img"})
    made.set("aria-label", clean(title))
    if width > WIDTH:
        made.set("class", "wide")
        made.set("style", f"width:{_number(width)}px")
    SubElement(made, "title").text = clean(title)
    made.extend(parts)
    return made


def label(x: float, y: float, text: str, **attributes: object) -> Element:
    """Text with its baseline at (x, y)."""
    return element("text", text, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def titled(part: Element, text: str) -> Element:
    """The same element with a tooltip."""
    part.insert(0, element("title", text))
    return part


def marker(x: float, y: float, shape: int, class_: str, size: float = 5) -> Element:
    """A mark whose form, not only its colour, says which series it belongs to.

    Parameters
    ----------
    shape : int
        0 circle, 1 diamond, 2 square, 3 triangle, 4 triangle upside down, and again.
    """
    shape %= 5
    if shape == 0:
        return element("circle", cx=x, cy=y, r=size, class_=class_)
    corners = {
        1: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
        2: ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
        3: ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
        4: ((0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
    }[shape]
    points = " ".join(f"{_number(x + size * dx)},{_number(y + size * dy)}" for dx, dy in corners)
    return element("polygon", points=points, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str, close: bool = False) -> Element:
    """A line through points."""
    steps = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
    return element("path", d=f"M{steps}{'Z' if close else ''}", class_=class_)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between `low` and `high`, about `count` of them.

    Examples
    --------
    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def text_width(text: str, size: float = SIZE) -> float:
    """About how wide text is, in units of the panel."""
    return sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text) * size


def shorten(text: object, width: float, size: float = SIZE) -> str:
    """Text with an ellipsis in its middle, to about `width` units: names of variants differ at their ends, too."""
    text = clean(text).replace("\n", " ")
    if text_width(text, size) <= width:
        return text
    head, tail = text[: (len(text) + 1) // 2], text[(len(text) + 1) // 2 :]
    while head and text_width(f"{head}…{tail}", size) > width:
        head, tail = (head[:-1], tail) if len(head) > len(tail) else (head, tail[1:])
    return f"{head.rstrip()}…{tail.lstrip()}"


def apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near `wanted`, in the same order, at least `gap` apart and, where they fit, between `low` and `high`."""
    order = sorted(range(len(wanted)), key=lambda number: wanted[number])
    found = [0.0] * len(wanted)
    floor = low
    for number in order:
        found[number] = floor = max(wanted[number], floor)
        floor += gap
    ceiling = high
    for number in reversed(order):
        found[number] = ceiling = min(found[number], ceiling)
        ceiling -= gap
    return found


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return clean(value)
