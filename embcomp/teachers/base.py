"""The teacher contract: a frozen model that turns clips into embeddings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from embcomp.config import AudioConfig, Choice, ChoiceSettings
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, MissingDependencyError
from embcomp.storage.seen import Seen

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TeacherSettings(ChoiceSettings):
    """Base of the settings of teachers.

    Attributes
    ----------
    argument : str
        What follows the colon of ``name:argument``; no key of its own.
    """

    choice: ClassVar[type[Teacher]]

    argument: str = field(default="", metadata={"hidden": True})

    @property
    def spec(self) -> str:
        """``name`` or ``name:argument``."""
        return f"{self.choice.name}:{self.argument}" if self.argument else self.choice.name

    @property
    def title(self) -> str:
        """`spec` as tables show it, without folders."""
        return self.spec.split("/")[-1]

    def named(self) -> dict[str, str]:
        return {"spec": self.spec}

    @property
    def learns(self) -> bool:
        """Whether it must be learned from clips, without their labels, before it can embed any."""
        return False

    def learned_as(self, clips: int) -> list[str]:
        """What a key must say of how it is learned from so many clips, beside these settings; empty for most."""
        return []

    @property
    def members(self) -> tuple[TeacherSettings, ...]:
        """Settings of the teachers that it is made of; none of an ordinary one."""
        return ()


class Teacher(Choice):
    """Base of the teachers.

    A teacher that runs declares its sample rate and gets clips decoded at it; windows, pooling,
    layers and batches are its own affair.

    Attributes
    ----------
    runs : bool
        Whether it computes embeddings from audio; one that does not looks them up, by ids.
    runs_code : bool
        Whether opening one runs code that its argument names.
    sample_rate : int
        Hz; known before a clip is decoded.
    dim : int
        Width of an embedding, all frames of a clip together.
    frames : int
        Vectors per clip. Where it is k > 1, a row holds k vectors one after the other, of equal shares
        of the clip's time.
    members : tuple of Teacher
        Those that it joins, each of which gets clips at its own rate; none of an ordinary teacher.
    seen : Seen or None
        Content hashes of the clips it was learned from; None where they are not known.
    """

    section = "teacher"
    Settings = TeacherSettings
    runs: ClassVar[bool] = True
    runs_code: ClassVar[bool] = False
    sample_rate: int
    dim: int
    frames: int = 1
    members: tuple[Teacher, ...] = ()
    seen: Seen | None = None

    @classmethod
    def missing(cls) -> str:
        """What has to be installed before it can run, with the command; empty where nothing has to be."""
        return ""

    @classmethod
    def require(cls, settings: TeacherSettings) -> None:
        """Refuse what cannot be opened on this machine, before a clip is read.

        Raises
        ------
        MissingDependencyError
            A package is missing, or does not import.
        TeacherError
            The teacher is one of the catalogue and was not fetched.
        """
        if absent := cls.missing():
            raise MissingDependencyError(f"{settings.spec}: {absent}")

    @classmethod
    def open(cls, settings: TeacherSettings, manifest: Manifest | None = None) -> Teacher:
        """The teacher that `settings` name, ready to embed.

        Parameters
        ----------
        settings : TeacherSettings
            Of this class, and none that has to be learned first.
        manifest : Manifest, optional
            Whole, before any clip was left out: what looks vectors up needs its rows.

        Raises
        ------
        ConfigError
            It has to be learned first.
        ArtifactError, StoreError
            Missing, damaged, or of another kind.
        """
        raise NotImplementedError

    @classmethod
    def learn(cls, batches: Iterable[tuple[np.ndarray, np.ndarray]], clips: int, settings: TeacherSettings) -> Teacher:
        """Learn from unlabelled clips, where ``settings.learns``.

        Parameters
        ----------
        batches : iterable of (waveforms (k, samples), lengths (k,))
            At `sample_rate`.
        clips : int
            How many there are in all.
        """
        raise ConfigError(f"the teacher {cls.name} is not learned from clips")

    @classmethod
    def most_clips(cls, settings: TeacherSettings) -> int | None:
        """How many clips `learn` has a use for; of more, so many are drawn before any is decoded. None: all."""
        return None

    @classmethod
    def learned_from(cls, settings: TeacherSettings, manifests: Sequence[Manifest] = ()) -> dict[str, Seen | None]:
        """Content hashes of the clips that what `settings` name was learned from, before it is opened to embed.

        Parameters
        ----------
        manifests : sequence of Manifest
            What it is to embed; their folders and names may say where stored vectors lie.

        Returns
        -------
        dict of str to (Seen or None)
            By the name of each model that others made, as tables show it: of the teacher, or of all that it joins. None
            where it is not known; without those that are yet to be learned.

        Raises
        ------
        ArtifactError
            Missing, damaged, or of another kind.
        """
        return {} if settings.learns else {settings.spec: None}

    def save(self, path: str | os.PathLike) -> None:
        """Write what was learned as an artifact folder, which ``name:FOLDER`` opens."""
        raise ConfigError(f"the teacher {self.name} has nothing of its own to save")

    def join(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """What the members give of n clips, (n, dim of each), as one: float32 (n, dim)."""
        raise ConfigError(f"the teacher {self.name} joins no others")

    def fingerprint(self) -> str:
        """Key of the weights and of every option that changes an embedding."""
        raise NotImplementedError

    def takes_logmels(self, audio: AudioConfig) -> bool:
        """Whether log-mels made by these settings are those that it makes itself, and `embed_logmels` takes them."""
        return False

    def embed_logmels(self, logmels: Tensor, frames: Tensor) -> np.ndarray:
        """Embed clips whose log-mels are there already: (n, n_mels, time) and valid frames (n,) to float32 (n, dim)."""
        raise NotImplementedError

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed clips.

        Parameters
        ----------
        waveforms : ndarray of shape (n, samples), float32
            At `sample_rate`, in [-1, 1].
        lengths : ndarray of shape (n,)
            Valid samples of each row.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        raise NotImplementedError
