"""A table of the stages of a run that is kept up to date in the terminal, with rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from embcomp.cli import common
from embcomp.extras import imported

Progress = Callable[[str, int, int], None]


@dataclass
class Stage:
    """How far a stage is.

    Attributes
    ----------
    began, changed : float
        Seconds of a clock.
    found, done, total : int
        Jobs that were there when it began, that are there, and that there are.
    """

    began: float
    changed: float
    found: int
    done: int
    total: int

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take at the rate so far; None before anything was made."""
        made = self.done - self.found
        return None if made < 1 else (self.changed - self.began) / made * (self.total - self.done)


class Watch:
    """A progress callback for runs that shows all stages at once; quiet where standard error is no terminal.

    Parameters
    ----------
    clock : callable
        Seconds.

    Raises
    ------
    MissingDependencyError
        rich is not installed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        imported("rich.live", "--watch needs", extra="watch")
        self.stages: dict[str, Stage] = {}
        self._clock, self._live, self._line = clock, None, common.stage_progress()

    def __enter__(self) -> Watch:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(get_renderable=self.table, console=Console(stderr=True), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = self._clock()
        known = self.stages.setdefault(stage, Stage(now, now, done, done, total))
        known.changed, known.done, known.total = now, done, total
        if self._live is None:
            self._line(stage, done, total)

    def table(self) -> Any:
        """The stages, one row each."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        shown = Table(box=None, pad_edge=False)
        for name in ("stage", "", "done", "of", "time", "left"):
            shown.add_column(name, justify="left" if name in ("stage", "") else "right")
        now = self._clock()
        for name, stage in self.stages.items():
            over = stage.done >= stage.total
            left = None if over else stage.left
            shown.add_row(
                Text(name),
                ProgressBar(total=max(stage.total, 1), completed=stage.done if stage.total else 1, width=24),
                str(stage.done),
                str(stage.total),
                clock((stage.changed if over else now) - stage.began),
                "" if left is None else clock(left),
            )
        return shown


def clock(seconds: float) -> str:
    """Hours, minutes and seconds; hours only where there are some.

    Examples
    --------
    >>> clock(65), clock(3_700)
    ('1:05', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
