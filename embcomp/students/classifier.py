"""A trained student with everything it needs to be used: front end, classes, provenance."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from embcomp.card.hub import OnHub
from embcomp.config import AudioConfig, parse, read_choice, to_dict
from embcomp.config.inputs import WORDS, taken_by
from embcomp.data.inputs import AUDIO, InputSpec
from embcomp.errors import ArtifactError, ConfigError, EmbcompError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact
from embcomp.storage.seen import Seen, counts_of, tensors_expected, tensors_of
from embcomp.students import StudentSettings, build_student


@dataclass
class Classifier(OnHub):
    """A student and its context.

    Attributes
    ----------
    network : nn.Module
        Log-mels (n, n_mels, frames), or what `inputs` says, and lengths to `StudentOutput`.
    classes : tuple of str
    audio : AudioConfig
        How its input is made; without meaning where that is no audio.
    student : StudentSettings
    multi_label : bool
    seen : frozenset of str
        Content hashes of the clips it was trained or validated on; the same audio
        under another name has the same hash.
    taught : Seen or None
        Clips that its teacher and the compressor of its targets were learned from; None where that is not known.
    about : dict
        Free provenance: seed, transfer method, data set.
    inputs : InputSpec
        What it takes.
    """

    network: nn.Module
    classes: tuple[str, ...]
    audio: AudioConfig
    student: StudentSettings
    multi_label: bool = False
    seen: frozenset[str] = frozenset()
    about: dict = field(default_factory=dict)
    inputs: InputSpec = AUDIO
    taught: Seen | None = None

    @classmethod
    def new(
        cls,
        classes: Sequence[str],
        audio: AudioConfig,
        student: StudentSettings,
        multi_label: bool,
        seed: int,
        inputs: InputSpec = AUDIO,
    ) -> Classifier:
        """A student with random weights drawn from `seed`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_student(student, len(classes), inputs.shape[0] if inputs.shape else audio.n_mels)
        return cls(network, tuple(classes), audio, student, multi_label, inputs=inputs)

    def needs_audio(self, what: str) -> None:
        """Refuse what is for students on audio alone; `what` names it.

        Raises
        ------
        ConfigError
            This one takes a table or images.
        """
        if self.inputs.kind != "audio":
            raise ConfigError(f"{what} is for students that take audio; this one takes {WORDS[self.inputs.kind]}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (n, classes) to probabilities: softmax, or a sigmoid each if multi-label."""
        return logits.sigmoid() if self.multi_label else logits.softmax(1)

    def save(self, path: str | os.PathLike, notes: dict | None = None) -> None:
        """Write an artifact folder; `notes` are further JSON files, by name."""
        config = {
            "classes": list(self.classes),
            "multi_label": self.multi_label,
            "audio": asdict(self.audio),
            "student": to_dict(self.student),
            "about": self.about,
            "seen": sorted(self.seen),
        }
        if self.inputs != AUDIO:
            config["inputs"] = self.inputs.settings()
        if self.taught is not None:
            config |= counts_of(self.taught)
        save_artifact(path, "student", config, self.network.state_dict() | tensors_of(self.taught), notes)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Classifier:
        """Read an artifact folder; the network is in evaluation mode, on the CPU.

        Raises
        ------
        ArtifactError
            Missing, damaged, or not a student.
        """
        config, tensors = load_artifact(path, "student")
        try:
            audio = parse({"audio": config["audio"]}).audio
            # Earlier versions saved the settings of all students with each.
            student = read_choice("student", config["student"], strict=False)
            classes = tuple(map(str, config["classes"]))
            inputs = InputSpec.of(config["inputs"]) if "inputs" in config else AUDIO
            if inputs.kind not in taken_by(student.choice):
                raise ValueError(f"a {student.kind} does not take {WORDS[inputs.kind]}")
            # On the meta device a wrong size costs nothing; the weights then decide.
            with torch.device("meta"):
                shapes = cls.new(classes, audio, student, bool(config["multi_label"]), 0, inputs).network.state_dict()
            kept = tensors_expected(config)
            seen, about = frozenset(config.get("seen", ())), dict(config.get("about", {}))
        except (KeyError, TypeError, ValueError, RuntimeError, EmbcompError) as error:
            raise ArtifactError(f"{path}/config.json is damaged ({error}); train the student again") from None
        check_tensors(path, tensors, shapes | kept)
        taught = Seen.of_tensors({name: tensors.pop(name) for name in kept})
        found = cls.new(classes, audio, student, bool(config["multi_label"]), 0, inputs)
        found.network.load_state_dict(tensors)
        found.network.eval()
        found.seen, found.about, found.taught = seen, about, taught
        return found
