"""A run done again from what it saved, and whether the scores are the same."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from embcomp import config as settings
from embcomp.errors import ArtifactError, ConfigError
from embcomp.evaluation.table import upgraded
from embcomp.pipeline.runner import Progress, RunResult, run
from embcomp.storage.files import read_json, write_json

MEASURED = ("value", "low", "high", "n")  # columns of scores.csv that are results; the others say of what


@dataclass(frozen=True)
class Change:
    """Something the two runs were made under that is not the same.

    Attributes
    ----------
    what : str
        ``packages.torch``, say.
    before, now : Any
    """

    what: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.what}: {self.before} then, {self.now} now"


@dataclass(frozen=True)
class Repetition:
    """What came of doing a run again.

    Attributes
    ----------
    result : RunResult
    changes : tuple of Change
        Versions, machine and settings that differ; empty where the scores have to agree.
    clips : int
        Clips of which the content is not what it was, or that only one of the runs has.
    compared : int
        Numbers that both tables hold.
    differing : DataFrame
        One row per number that is not the same: the columns that say what it is, ``column``, ``before``,
        ``now`` and ``difference`` (absolute; infinite where one of them is no number).
    missing, added : int
        Rows that only the old, only the new table has. A newer version may add some.
    """

    result: RunResult
    changes: tuple[Change, ...]
    clips: int
    compared: int
    differing: pd.DataFrame
    missing: int
    added: int

    @property
    def same(self) -> bool:
        """Whether every number of the old table came out again, to the digit."""
        return self.differing.empty and not self.missing

    @property
    def largest(self) -> float:
        """The largest difference between two numbers, 0 where there is none."""
        return float(self.differing["difference"].max()) if len(self.differing) else 0.0


def repeat(
    folder: str | os.PathLike,
    out: str | os.PathLike,
    overrides: Iterable[str] = (),
    progress: Progress | None = None,
) -> Repetition:
    """Do the run in `folder` again in another folder and compare.

    The saved config holds every setting and seed, so that the same versions with the same
    number of threads on the same kind of processor give the same bytes. ``repeat.json`` in
    `out` keeps what was found.

    Parameters
    ----------
    folder : path
        A finished run.
    out : path
        A new folder, or that of an interrupted repetition.
    overrides : iterable of str
        ``section.key=value``: ``data.root`` where the data lie elsewhere now, ``workers`` or ``device``.
    progress : callable, optional
        As for `embcomp.pipeline.run`.

    Raises
    ------
    ArtifactError
        `folder` holds no finished run.
    ConfigError
        `out` is the run itself, where every stage is done already.
    """
    folder, out = Path(folder), Path(out)
    if not (folder / "scores.csv").is_file() or not (folder / "config.toml").is_file():
        raise ArtifactError(f"no finished run at {folder}: it needs config.toml and scores.csv")
    if out.resolve() == folder.resolve():
        raise ConfigError(f"{out} is the run itself, where nothing would be done again; choose another --out")
    before, environment = read_scores(folder / "scores.csv"), read_json(folder / "environment.json")
    result = run(settings.load(folder / "config.toml", overrides, strict=False), out, progress)
    differing, compared, missing, added = compare_scores(before, read_scores(out / "scores.csv"))
    found = Repetition(
        result,
        tuple(changes(environment, read_json(out / "environment.json"))),
        len(clips_of(folder) ^ clips_of(out)),
        compared,
        differing,
        missing,
        added,
    )
    content = {
        "repeats": str(folder.resolve()),
        "same": found.same,
        "compared": compared,
        "differing": len(differing),
        "largest": repr(found.largest),  # JSON has no infinity
        "missing": missing,
        "added": added,
        "clips_changed": found.clips,
        "changes": [asdict(change) for change in found.changes],
    }
    write_json(out / "repeat.json", content)
    return found


def read_scores(path: Path) -> pd.DataFrame:
    """A table of scores with every number as it is written.

    Raises
    ------
    ArtifactError
        It is no such table.
    """
    try:
        table = upgraded(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read {path} as a table of scores: {str(error).strip()}") from None
    if absent := [name for name in MEASURED if name not in table]:
        raise ArtifactError(f"{path} is no table of scores: it has no column {', '.join(absent)}")
    return table


def compare_scores(before: pd.DataFrame, now: pd.DataFrame) -> tuple[pd.DataFrame, int, int, int]:
    """Numbers that differ, how many were compared, and the rows that only one of the tables has.

    Parameters
    ----------
    before, now : DataFrame
        From `read_scores`. Columns that only one of them has do not count.
    """
    about = [name for name in before.columns if name not in MEASURED and name in now.columns]

    def keyed(table: pd.DataFrame) -> pd.DataFrame:
        # Validation has a row for every fold; only their order tells which is which.
        order = table.groupby(about, sort=False).cumcount() if about else range(len(table))
        return table.assign(_order=order)[[*about, "_order", *MEASURED]]

    joined = keyed(before).merge(
        keyed(now), on=[*about, "_order"], how="outer", suffixes=("_before", "_now"), indicator=True
    )
    both = joined[joined["_merge"] == "both"]
    pieces = []
    for column in MEASURED:
        old, new = both[f"{column}_before"], both[f"{column}_now"]
        other = old != new
        numbers = [pd.to_numeric(values[other], errors="coerce") for values in (old, new)]
        rows = both.loc[other, about].assign(column=column, before=old[other], now=new[other])
        difference = (numbers[0] - numbers[1]).abs()
        pieces.append(rows.assign(difference=difference.fillna(float("inf"))))
    counts = joined["_merge"].value_counts()
    return (
        pd.concat(pieces, ignore_index=True),
        len(both) * len(MEASURED),
        int(counts["left_only"]),
        int(counts["right_only"]),
    )


def changes(before: Any, now: Any, name: str = "") -> list[Change]:
    """Values of two nested tables that differ, by their dotted names."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [] if before == now else [Change(name, before, now)]
    keys = dict.fromkeys([*before, *now])
    return [
        change
        for key in keys
        for change in changes(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    ]


def clips_of(folder: Path) -> set[tuple[str, str]]:
    """Id and content hash of every clip that a run remembers."""
    remembered = [read_json(path) for path in sorted((folder / "stages" / "datasets").glob("*.json"))]
    return {(clip, key) for content in remembered for clip, key in zip(content["ids"], content["hashes"])}
