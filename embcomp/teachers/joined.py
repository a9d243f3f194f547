"""Several teachers in one embedding: side by side, each scaled as a block."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embcomp.audio.decoding import fit_length, resample
from embcomp.config import read_choice, seed_setting, setting
from embcomp.config.several import JOIN, parts_of, settings_in
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, DataError, TeacherError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact
from embcomp.storage.bringing import brought, brought_from
from embcomp.storage.files import fingerprint
from embcomp.storage.places import is_url
from embcomp.storage.seen import Seen, counts_of, tensors_expected, tensors_of
from embcomp.teachers.base import Teacher, TeacherSettings

KIND = "joined teacher"
CONSTANT = 1e-12  # of the mean square: what rounding leaves of vectors that are all the same


@dataclass(frozen=True)
class Blocks:
    """How vectors of several teachers are made one.

    Each teacher's vector is centred and multiplied by one number, so that over the clips it was fitted on every
    teacher has the same share of the total variance and a dimension has a variance of 1 on average::

        e = [s_1 (e_1 - m_1), ..., s_k (e_k - m_k)],   s_i = sqrt(D / (k tr Cov(e_i))),   D = d_1 + ... + d_k

    So neither more dimensions nor larger numbers give a teacher more weight in distances and principal components.
    Within a teacher the dimensions keep their proportions.

    Attributes
    ----------
    means : tuple of ndarray of shape (d_i,), float32
    scales : tuple of float
    """

    means: tuple[np.ndarray, ...]
    scales: tuple[float, ...]

    @classmethod
    def fit(cls, vectors: Sequence[np.ndarray], names: Sequence[str]) -> Blocks:
        """Means and scales of the vectors (n, d_i) that each teacher gives of the same n clips.

        Parameters
        ----------
        names : sequence of str
            Of the teachers, for messages.

        Raises
        ------
        DataError
            A teacher gives the same vector for every clip.
        """
        means, totals = [], []
        for rows, name in zip(vectors, names, strict=True):
            rows = np.asarray(rows, dtype=np.float64)
            mean, total = rows.mean(0), float(rows.var(0).sum())
            if total <= CONSTANT * max(float((mean**2).sum()), 1e-30):
                raise DataError(
                    f"the teacher {name} gives the same vector for all {len(rows)} clips; leave it out of the join"
                )
            means.append(mean.astype(np.float32))
            totals.append(total)
        share = sum(map(len, means)) / len(means)
        return cls(tuple(means), tuple(float(np.sqrt(share / total)) for total in totals))

    def join(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """Vectors (n, d_i) of each teacher as one, float32 (n, D)."""
        blocks = [
            (np.asarray(rows, dtype=np.float32) - mean) * np.float32(scale)
            for rows, mean, scale in zip(vectors, self.means, self.scales, strict=True)
        ]
        return np.concatenate(blocks, axis=1)

    def key(self) -> str:
        """Changes with every number."""
        return fingerprint([[mean.tobytes().hex() for mean in self.means], list(self.scales)])


class JoinedTeacher(Teacher):
    """Teachers side by side: ``A + B``, or ``joined:FOLDER`` for a join that was fitted.

    Every member decodes at its own rate, and one that is learned is learned as it is alone. Settings of a member
    are given in brackets: ``hf:FOLDER(layer=6) + kmeans(centroids=64)``. The join is fitted to clips without their labels,
    see `Blocks`.

    Parameters
    ----------
    members : sequence of Teacher
        With one vector per clip.
    specs : sequence of str
        How each is written.
    blocks : Blocks
    beside : sequence of str, optional
        For each member that was learned for this join, the name of its folder, which lies beside that of the join; empty
        for the others.

    Attributes
    ----------
    learned_on : str
        Key of the clips and settings it was fitted with.
    seen : Seen or None
        Content hashes of these clips; None of a join that was saved before these were kept.
    """

    name = "joined"
    summary = (
        "several teachers in one embedding, each with the same share of the variance: "
        "A + B, or with settings A(KEY=VALUE, ...) + B; joined:FOLDER opens one that was fitted"
    )

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        seed: int = seed_setting("of members that are learned")
        run_code: bool = setting(False, "open joined:FOLDER also where a member runs code of its own (python, hear)")

        @property
        def spec(self) -> str:
            return self.argument if JOIN in self.argument else super().spec

        @property
        def title(self) -> str:
            return JOIN.join(one.split("/")[-1] for one in self.spec.split(JOIN))

        @property
        def learns(self) -> bool:
            return JOIN in self.argument

        @cached_property
        def members(self) -> tuple[TeacherSettings, ...]:
            if not self.learns:
                return ()
            found = []
            for spec, options in parts_of(self.argument):
                one = read_choice("teacher", {"spec": spec, **settings_in(options)}, f"teacher {spec}")
                seeded = "seed" in one.options() and "seed" not in settings_in(options)
                found.append(replace(one, seed=self.seed) if seeded else one)
            return tuple(found)

        def conflict(self) -> str:
            if not self.argument:
                return "the teacher 'joined' needs two or more: A + B, or the folder of a join: joined:FOLDER"
            try:
                members = self.members
            except ConfigError as error:
                return f"teacher.spec = {self.argument!r}: {error}"
            for one in members:
                start = f"teacher.spec = {self.argument!r}: {one.spec}"
                if isinstance(one.choice, type) and issubclass(one.choice, JoinedTeacher):
                    return f"{start} is a join itself; name its members: A + B + C"
                if members.count(one) > 1:
                    return f"{start} is there twice; leave one out"
                if (frames := one.options().get("frames", 1)) > 1:
                    return f"{start} gives {frames} vectors per clip (frames), and a join has one; set its frames to 1"
            return ""

    def __init__(self, members: Sequence[Teacher], specs: Sequence[str], blocks: Blocks, beside: Sequence[str] = ()):
        self.members, self.specs, self.blocks = tuple(members), tuple(specs), blocks
        self.beside = tuple(beside) or ("",) * len(self.members)
        for one, spec, mean in zip(self.members, self.specs, blocks.means, strict=True):
            check_member(spec, one.frames, one.dim, len(mean))
        self.name = JOIN.join(one.name for one in self.members)
        self.dim = sum(map(len, blocks.means))
        rates = [one.sample_rate for one in self.members if one.runs]
        self.runs = bool(rates)
        self.sample_rate = max(rates, default=0)
        self.learned_on = ""

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> JoinedTeacher:
        return cls.load(settings.argument, manifest, settings.run_code)

    @classmethod
    def learned_from(cls, settings: Settings, manifests: Sequence[Manifest] = ()) -> dict[str, Seen | None]:
        if settings.members:
            members = list(settings.members)
            found: dict[str, Seen | None] = {}
        else:
            config, _, seen = read_join(settings.argument)
            members = [
                _settings_of(spec, brought(settings.argument).parent / name if name else None)
                for spec, name in zip(config["specs"], config["beside"])
            ]
            found = {settings.spec: seen}
        for one in members:
            found |= one.choice.learned_from(one, manifests)
        return found

    def fingerprint(self) -> str:
        return joined_fingerprint([one.fingerprint() for one in self.members], self.blocks)

    def join(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        return self.blocks.join(vectors)

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed waveforms at the highest rate of the members, resampled for the others.

        Clips in files are better embedded by `embcomp.teachers.embed`, which decodes them for each.
        """
        found = []
        for one, spec in zip(self.members, self.specs):
            if not one.runs:
                raise TeacherError(f"{spec} holds vectors of clips, and cannot embed other sounds")
            rows = [wave[: max(int(length), 1)] for wave, length in zip(waveforms, lengths)]
            if one.sample_rate != self.sample_rate:
                rows = [resample(wave, self.sample_rate, one.sample_rate) for wave in rows]
            found.append(np.asarray(one.embed(*fit_length(rows))))
        return self.join(found)

    def save(self, path: str | os.PathLike) -> None:
        """Write an artifact folder. Members that were learned for it lie beside it already."""
        weights = [one.fingerprint() if one.runs else "" for one in self.members]
        save_joined(path, self.specs, self.beside, weights, self.blocks, self.learned_on, self.seen)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        manifest: Manifest | None = None,
        run_code: bool = False,
        own: Collection[str] = (),
    ) -> JoinedTeacher:
        """Read an artifact folder and open the members.

        Parameters
        ----------
        run_code : bool, default=False
            Also members that run code which the folder names; the folder may be somebody else's.
        own : collection of str, optional
            Members that the caller's own settings name, which may.

        Raises
        ------
        ConfigError
            A member runs code, and `run_code` is false.
        ArtifactError
            Missing, damaged, not a join, or a member is not what it was fitted with.
        """
        beside_of = brought_from if is_url(path) else Path
        path = brought(path)
        config, blocks, seen = read_join(path)
        specs, beside = config["specs"], config["beside"]
        members = [
            _opened(spec, beside_of(path.parent, name) if name else None, manifest, run_code or spec in own)
            for spec, name in zip(specs, beside)
        ]
        for one, spec, key in zip(members, specs, config["weights"]):
            if key and one.fingerprint() != key:
                raise ArtifactError(
                    f"{path} was fitted with another {spec}: its weights or settings have changed; fit the join again"
                )
        teacher = cls(members, specs, blocks, beside)
        teacher.learned_on, teacher.seen = str(config.get("learned_on", "")), seen
        return teacher


def read_join(path: str | os.PathLike) -> tuple[dict[str, Any], Blocks, Seen | None]:
    """What the artifact of a join says, its means and scales, and what it was fitted to; no member is opened.

    Raises
    ------
    ArtifactError
        Missing, damaged, or not a join.
    """
    config, tensors = load_artifact(path, KIND)
    try:
        specs, beside, weights, dims, scales = (
            config[name] for name in ("specs", "beside", "weights", "dims", "scales")
        )
        expected = {f"mean{at}": torch.empty(dim, device="meta") for at, dim in enumerate(dims)}
        kept = tensors_expected(config)
        whole = len(specs) == len(beside) == len(weights) == len(dims) == len(scales) > 1
        whole &= all(isinstance(one, str) for one in [*specs, *beside, *weights])
        whole &= all(isinstance(one, float) and 0 < one < float("inf") for one in scales)
        whole &= all(Path(name).name == name for name in beside)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path}/config.json is damaged ({error}); fit the join again") from None
    if not whole:
        raise ArtifactError(f"{path}/config.json is damaged; fit the join again")
    check_tensors(path, tensors, expected | kept)
    means = tuple(tensors[name].numpy().astype(np.float32) for name in expected)
    return config, Blocks(means, tuple(scales)), Seen.of_tensors({name: tensors[name] for name in kept})


def check_member(spec: str, frames: int, dim: int, expected: int) -> None:
    """Refuse a member that gives other vectors than the join was fitted with, or several per clip.

    Raises
    ------
    TeacherError
        With what it gives.
    """
    if frames > 1:
        raise TeacherError(f"{spec} gives {frames} vectors per clip, and a join has one; take vectors of whole clips")
    if dim != expected:
        raise TeacherError(f"{spec} gives {dim} dimensions where the join was fitted with {expected}; fit it again")


def joined_fingerprint(weights: Sequence[str], blocks: Blocks) -> str:
    """Key of a join of teachers with these keys."""
    return fingerprint(["joined", list(weights), blocks.key()])


def save_joined(
    path: str | os.PathLike,
    specs: Sequence[str],
    beside: Sequence[str],
    weights: Sequence[str],
    blocks: Blocks,
    learned_on: str,
    seen: Seen | None = None,
) -> None:
    """Write the artifact of a join; see `JoinedTeacher`.

    Parameters
    ----------
    weights : sequence of str
        Key of each member, which must be the same when it is opened; empty where it differs from manifest to manifest.
    seen : Seen, optional
        What the blocks were fitted to.
    """
    config = {
        "specs": list(specs),
        "beside": list(beside),
        "weights": list(weights),
        "dims": [len(mean) for mean in blocks.means],
        "scales": list(blocks.scales),
        "learned_on": learned_on,
        **counts_of(seen),
    }
    means = {f"mean{at}": torch.from_numpy(mean) for at, mean in enumerate(blocks.means)}
    save_artifact(path, KIND, config, means | tensors_of(seen))


def _opened(spec: str, learned: Path | None, manifest: Manifest | None, run_code: bool) -> Teacher:
    """A member by how it is written; `learned` is its folder where it was learned for the join."""
    settings = _settings_of(spec, learned)
    if settings.choice.runs_code and not run_code:
        raise ConfigError(
            f"the join has the member {spec}, which runs code of its own: if you trust it, set teacher.run_code to true"
        )
    return settings.choice.open(settings, manifest)


def _settings_of(spec: str, learned: Path | None) -> TeacherSettings:
    (text, options), *others = parts_of(spec)
    settings = read_choice("teacher", {"spec": text, **settings_in(options)}, f"teacher {text}")
    if others or issubclass(settings.choice, JoinedTeacher):
        raise ArtifactError(
            f"a join has the member {spec}, which is a join itself; fit it again, with all members by name"
        )
    return settings if learned is None else replace(settings, argument=str(learned))
