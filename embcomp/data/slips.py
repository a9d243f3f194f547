"""Cells that look like a slip: words for nothing, labels that differ in case or blanks alone, commas between labels."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

NOTHING = frozenset({"nan", "na", "n/a", "#n/a", "#na", "<na>", "none", "null", "nat", "nil", "(null)", "undefined"})
SHOWN = 5  # rows, or slips of one kind, named


def unicode_form(text: str) -> str:
    """Text in Unicode's form NFC, in which letters that look the same are the same."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def means_nothing(cell: str) -> bool:
    """Whether a cell holds what programs write for a missing value.

    Examples
    --------
    >>> means_nothing("NaN"), means_nothing("no")
    (True, False)
    """
    return cell.strip().casefold() in NOTHING


def numbered(rows: Sequence[int]) -> str:
    """Row numbers for a message.

    Examples
    --------
    >>> numbered([2, 3, 4, 5, 6, 7])
    'row 2, 3, 4, 5, 6 and 1 more'
    """
    return "row " + ", ".join(map(str, rows[:SHOWN])) + (f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else "")


def slips(cells: Sequence[str], rows: Sequence[int] | None = None, what: str = "label") -> list[str]:
    """Say what in a column of labels, groups or splits is probably not meant so. Nothing is changed.

    Parameters
    ----------
    cells : sequence of str
        Labels may be joined by ``|``.
    rows : sequence of int, optional
        Their lines in a file.
    what : {"label", "group", "split"}

    Examples
    --------
    >>> slips(["Dog", "dog", "cat", "Dog"])
    ["the labels 'Dog' (2 cells) and 'dog' (1) are alike but for case, blanks or marks, and count as 2; if they are one, \
write them alike"]
    """
    rows = range(len(cells)) if rows is None else rows
    places: dict[str, list[int]] = {}
    for row, cell in zip(rows, cells):
        for name in cell.split("|") if what == "label" else [cell]:
            name = name.strip().removeprefix("?").strip() if what == "label" else name.strip()
            if name:
                places.setdefault(name, []).append(int(row))
    found = [
        f"{numbered(places[name])}: {name!r} is taken as a {what}; leave the cell empty where there is none"
        for name in places
        if means_nothing(name)
    ]
    if what == "label":
        listed = [name for name in places if re.search(r"[,;]", name)]
        if listed:
            more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            named = ", ".join(map(repr, listed[:SHOWN]))
            found.append(
                f"{numbered(places[listed[0]])}: {named}{more}: each is one label, with a comma or semicolon in it; "
                "where a clip has several labels, join them by |"
            )
    alike: dict[str, list[str]] = {}
    for name in places:
        alike.setdefault(_skeleton(name, numbers=what != "label"), []).append(name)
    counts = Counter({name: len(where) for name, where in places.items()})
    for names in [names for names in alike.values() if len(names) > 1][:SHOWN]:
        first, *others = sorted(names, key=lambda name: (-counts[name], name))
        listing = f"{first!r} ({counts[first]} cells) and " + ", ".join(f"{name!r} ({counts[name]})" for name in others)
        found.append(
            f"the {what}s {listing} are alike but for case, blanks or marks, and count as {len(names)}; if they are one, "
            "write them alike"
        )
    return found


def _skeleton(name: str, numbers: bool) -> str:
    """What is left of a name without case, blanks, dashes and invisible marks; of a number its value."""
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(mark for mark in text if unicodedata.category(mark) not in ("Cf", "Cc", "Zs", "Pc", "Pd"))
    if numbers and (number := re.fullmatch(r"0*(\d+)(\.0+)?", text)):
        return number[1]
    return text or name
