"""What a report is made of; each format renders the same blocks."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element


@dataclass(frozen=True)
class Cell:
    """A number with its interval.

    Attributes
    ----------
    text : str
        The number.
    note : str
        Smaller, under it.
    span : tuple of float, or None
        Low, value, high: drawn as a strip on the table's scale.
    """

    text: str
    note: str = ""
    span: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column names the row.

    Attributes
    ----------
    scale : tuple of float
        Ends of every strip in it.
    folded : bool
        Hide it until asked for: the values behind a figure.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    caption: str = ""
    scale: tuple[float, float] = (0.0, 1.0)
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels of one picture, what they show, and the same as a table."""

    panels: tuple[Element, ...]
    caption: str
    values: Table


@dataclass(frozen=True)
class Text:
    """A paragraph; `kind` is plain, lead (the claim), claim (one of several), head (of what follows) or note."""

    text: str
    kind: str = "plain"


@dataclass(frozen=True)
class Points:
    """A list of remarks."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Text to be kept as it is."""

    text: str


@dataclass(frozen=True)
class Folded:
    """Blocks that are shown when asked for."""

    title: str
    blocks: tuple[Block, ...]


Block = Table | Figure | Text | Points | Code | Folded


@dataclass(frozen=True)
class Section:
    """A titled part of the report."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
