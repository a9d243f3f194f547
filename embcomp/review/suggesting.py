"""Clips to label next, as a list that is a manifest."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.data.manifest import Manifest
from embcomp.errors import BadClip, ConfigError, ManifestError, refuse_bad
from embcomp.prediction.labeller import THRESHOLD
from embcomp.review.keys import clip_keys
from embcomp.review.pool import Budget, Pool, examples, in_order_of, outputs
from embcomp.review.strategies import Strategy, strategy_named
from embcomp.storage.files import write_text
from embcomp.storage.ownership import check_file
from embcomp.storage.places import join, relative
from embcomp.students.classifier import Classifier

HEAD = ("path", "label", "group", "predicted", "score", "why")
Student = Classifier | str | os.PathLike


@dataclass(frozen=True)
class Suggestions:
    """What `suggest` chose, the first clip being worth most.

    Attributes
    ----------
    manifest : Manifest
        The clips chosen.
    predicted : tuple of str
        What the student says of each; several labels are joined by ``|``.
    scores : ndarray of shape (n,)
        NaN where the strategy has none.
    why : tuple of str
    candidates : int
        Clips without a label that could be used.
    bad : tuple of BadClip
        Clips left out.
    """

    manifest: Manifest
    predicted: tuple[str, ...]
    scores: np.ndarray
    why: tuple[str, ...]
    candidates: int
    bad: tuple[BadClip, ...] = ()

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def table(self) -> pd.DataFrame:
        """Columns path (as in the manifest), start and end (where any clip has them), label (empty), group, predicted, score, why."""
        given = self.manifest.table
        table = pd.DataFrame({"path": given["path"]})
        for name in ("start", "end"):
            if given[name].notna().any():
                table[name] = given[name]
        # A group that the manifest does not give is found again from the path.
        groups = given["group"].where(given["given"], "")
        about = {"label": "", "group": groups, "predicted": self.predicted, "score": self.scores, "why": self.why}
        return table.assign(**about)

    def leads_out(self, path: str | os.PathLike) -> bool:
        """Whether some clip lies outside the folder of a list at `path`, which is then read with --allow-outside alone."""
        start = os.path.realpath(Path(path).parent)
        places = [os.path.realpath(self.manifest.audio_path(row)) for row in range(len(self))]
        return any(os.path.commonpath([start, place]) != start for place in places)

    def write(self, path: str | os.PathLike) -> Path:
        """Write the list: a manifest without labels, its paths relative to its own folder.

        Raises
        ------
        ArtifactError
            What is at `path` is no such list.
        """
        path = Path(path)
        check_list(path)
        table = self.table
        table["path"] = [relative(join(self.manifest.folder, name), path.parent) for name in table["path"]]
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(table.columns)
        for row in table.itertuples(index=False):
            lines.writerow(["" if value != value else _number(value) for value in row])
        write_text(path, text.getvalue())
        return path


def check_list(path: str | os.PathLike) -> None:
    """Refuse to write a list over what is none.

    Raises
    ------
    ArtifactError
        The file is something else.
    """
    check_file(path, "list of suggested clips", lambda head: head.split("\n")[0].strip().endswith(",".join(HEAD[2:])))


def _number(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def suggest(
    student: Student,
    manifest: Manifest | str | os.PathLike,
    *,
    by: str = "uncertainty",
    count: int = 50,
    measure: str = "",
    like: Sequence[str | os.PathLike] = (),
    students: Sequence[Student] = (),
    labelled: Sequence[Manifest | str | os.PathLike] = (),
    per_group: int | None = None,
    skip_bad: bool = False,
    ffmpeg: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Suggestions:
    """Choose clips without a label that are worth one.

    Parameters
    ----------
    student : Classifier or path
        A trained student.
    manifest : Manifest or path
        Clips with a label are left out.
    by : {"uncertainty", "disagreement", "diversity", "similar"}
        The strategy, see `embcomp.review.strategies`.
    count : int, default=50
        How many clips, at least 1; fewer where there are no more.
    measure : str, optional
        Of the strategy; by default its first.
    like : sequence of path
        Examples for ``similar``: files, or parts of them as ``FILE#START-END`` in seconds.
    students : sequence of Classifier or path
        Further students for ``disagreement``.
    labelled : sequence of Manifest or path
        Manifests whose labelled clips count as labelled, too.
    per_group : int, optional
        At most so many clips of a group, at least 1.
    skip_bad : bool, default=False
        Leave out clips that cannot be used. Otherwise they raise.
    ffmpeg : bool, optional
        As in ``audio.ffmpeg``; by default as the student was trained.
    progress : callable, optional
        Called with clips done and clips in all.

    Returns
    -------
    Suggestions

    Raises
    ------
    ConfigError
        An option is out of range, missing, or not for the strategy; a student takes no audio or has other classes.
    ManifestError
        Every clip has a label.
    AudioError
        Clips cannot be used and `skip_bad` is false, or none can. Every one is named.

    Examples
    --------
    >>> import embcomp
    >>> found = embcomp.suggest("student", "pool.csv", by="diversity", count=20)   # doctest: +SKIP
    >>> found.write("next.csv")                                                    # doctest: +SKIP
    """
    strategy = strategy_named(by)(measure)
    _check(strategy, count, per_group, like, students)
    classifiers = [one if isinstance(one, Classifier) else Classifier.load(one) for one in (student, *students)]
    for one in classifiers:
        one.needs_audio("suggest")
    first = classifiers[0]
    orders = [in_order_of(first.classes, one, f"student {number}") for number, one in enumerate(classifiers, 1)]
    given = [one if isinstance(one, Manifest) else Manifest.read(one) for one in (manifest, *labelled)]
    like_rows, like_names, like_keys = examples(first, like, ffmpeg)
    candidates, known = _divided(given, like_keys)
    total = len(candidates) * len(classifiers) + (sum(map(len, known)) if strategy.uses_labelled else 0)
    done = 0

    def count_up(clips: int) -> None:
        nonlocal done
        done += clips
        if progress is not None:
            progress(done, total)

    rows, found, embeddings, bad = outputs(first, candidates, ffmpeg, count_up)
    refuse_bad(bad, len(candidates), skip_bad, "clips")
    usable = candidates.select(rows)
    probabilities = [found]
    for one, order in zip(classifiers[1:], orders[1:]):
        kept, found, _, more = outputs(one, usable, ffmpeg, count_up)
        refuse_bad(more, len(usable), False, "clips")
        probabilities.append(found[:, order])
    pieces = [np.empty((0, embeddings.shape[1]), dtype=np.float32)]
    for one in known if strategy.uses_labelled else ():
        _, _, some, more = outputs(first, one, ffmpeg, count_up)
        refuse_bad(more, len(one), skip_bad, "labelled clips")
        pieces.append(some)
    pool = Pool(
        first.classes,
        first.multi_label,
        tuple(probabilities),
        embeddings,
        np.concatenate(pieces),
        like_rows,
        like_names,
    )
    picks, budget = [], Budget(usable.groups, per_group)
    for pick in strategy.picks(pool, budget):
        picks.append(pick)
        budget.take(pick.row)
        if len(picks) == count:
            break
    chosen = [pick.row for pick in picks]
    said = _labels(first, np.mean(probabilities, axis=0)[chosen])
    scores = np.array([pick.score for pick in picks], dtype=np.float64)
    return Suggestions(
        usable.select(chosen), tuple(said), scores, tuple(pick.why for pick in picks), len(usable), tuple(bad)
    )


def _check(strategy: Strategy, count: int, per_group: int | None, like: Sequence, students: Sequence) -> None:
    if count < 1:
        raise ConfigError(f"--n must be at least 1, not {count}")
    if per_group is not None and per_group < 1:
        raise ConfigError(f"--per-group must be at least 1, not {per_group}")
    if strategy.uses_like and not like:
        raise ConfigError(f"--by {strategy.name} needs an example: add --like CLIP")
    if like and not strategy.uses_like:
        raise ConfigError(f"--like is for --by similar, not --by {strategy.name}")
    if len(students) + 1 < strategy.least_students:
        raise ConfigError(f"--by {strategy.name} compares students: add --students OTHER, of another seed say")
    if students and strategy.least_students == 1:
        raise ConfigError(f"--students is for --by disagreement, not --by {strategy.name}")


def _divided(given: Sequence[Manifest], like: set[str]) -> tuple[Manifest, list[Manifest]]:
    """The clips of the first manifest that have a label nowhere and are no example; the labelled clips of each, once."""
    known, seen = [], set()
    for one in given:
        marked = np.array([bool(cell.strip()) for cell in one.labels])
        keys = clip_keys(one)
        fresh = np.array([key not in seen for key in keys]) & marked
        seen |= {key for key, is_marked in zip(keys, marked) if is_marked}
        known.append(one.select(fresh))
    keys = clip_keys(given[0])
    rows = [row for row, key in enumerate(keys) if key not in seen and key not in like]
    if not rows:
        raise ManifestError(
            f"every clip of {given[0].name} has a label; clips to suggest are rows with an empty label cell"
        )
    return given[0].select(rows), [one for one in known if len(one)]


def _labels(classifier: Classifier, probabilities: np.ndarray) -> list[str]:
    if classifier.multi_label:
        return ["|".join(np.array(classifier.classes, dtype=object)[row >= THRESHOLD]) for row in probabilities]
    return [classifier.classes[column] for column in probabilities.argmax(axis=1)]
