"""Warnings of embcomp as notes on standard error."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import click

from embcomp.errors import EmbcompWarning
from embcomp.storage.places import shown as urls_shown

NOTES = "embcomp.notes"  # of click's context: what was shown


@contextlib.contextmanager
def notes_shown() -> Iterator[dict[str, None]]:
    """Print every warning of embcomp once, as a line on standard error; of several processes the first one does.

    Yields
    ------
    dict
        What was shown, in order.
    """
    shown: dict[str, None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("always", EmbcompWarning)
        show = warnings.showwarning

        def note(message, category, *place, **more) -> None:
            if not issubclass(category, EmbcompWarning):
                show(message, category, *place, **more)
            elif str(message) not in shown:
                from embcomp.engines.together import own_rank  # not by every --help

                shown[str(message)] = None
                if not own_rank():
                    click.echo(f"note: {urls_shown(str(message))}", err=True)

        warnings.showwarning = note
        yield shown
