"""What an exported file says of itself: labels, rate, window, threshold, versions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from embcomp.errors import ArtifactError

FORMAT = 1
TUPLES = ("outputs", "labels", "float_layers", "columns")
INPUTS = ("waveform", "logmel", "embedding", "table", "images")
ROWS = ("table", "images")
SAMPLES = ("float32", "int16")
THRESHOLD = 0.5


@dataclass(frozen=True)
class ModelInfo:
    """Context of an exported model. In ONNX its fields are metadata properties, each value as JSON.

    Attributes
    ----------
    kind : {"classifier", "teacher", "compressor"}
        What comes out first: probabilities, an embedding, or a target.
    input : {"waveform", "logmel", "embedding", "table", "images"}
    outputs : tuple of str
        Names, in order.
    samples : {"float32", "int16"}
        Numbers of a waveform: in [-1, 1], or 16-bit PCM.
    labels : tuple of str
        Classes, in the order of the probabilities; of a classifier.
    multi_label : bool
        Whether a clip may have several labels.
    threshold : float
        From this probability on a class of a multi-label model applies, in (0, 1).
    sample_rate : int
        Hz; 0 where no audio goes in.
    window : float
        Longest clip the model was trained on, seconds.
    width : int
        Numbers in a row of the first output.
    fixed_samples : int
        Where the file takes rows of one length only: that length; else 0.
    precision : {"float32", "int8"}
    float_layers : tuple of str
        Of a network in 8 bits: layers that are not.
    shape : tuple of int
        Of one input that is a row of a table, (columns,), or an image, (channels, height, width); else empty.
    columns : tuple of str
        Of a table, in order.
    audio : dict
        The front end, as `embcomp.config.AudioConfig` names it.
    parameters, macs : int
        Of the network, for one clip of `window` seconds; the front end is not counted.
    about : dict
        Provenance: data set, teacher, transfer method, seed.
    versions : dict
        Of the packages that wrote the file.
    """

    kind: str
    input: str
    outputs: tuple[str, ...]
    samples: str = "float32"
    labels: tuple[str, ...] = ()
    multi_label: bool = False
    threshold: float = THRESHOLD
    sample_rate: int = 0
    window: float = 0.0
    width: int = 0
    fixed_samples: int = 0
    precision: str = "float32"
    float_layers: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    audio: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    macs: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the format's number."""
        return {"embcomp_format": FORMAT, **asdict(self)}

    def to_properties(self) -> dict[str, str]:
        """Metadata properties: text to text."""
        return {name: json.dumps(value, ensure_ascii=False) for name, value in self.to_dict().items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> ModelInfo:
        """Read what `to_properties` gave; properties of other programs are passed over.

        Raises
        ------
        ArtifactError
            embcomp did not export `source`, or its properties are damaged.
        """
        known = {item.name for item in fields(cls)} | {"embcomp_format"}
        try:
            content = {name: json.loads(text) for name, text in properties.items() if name in known}
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{source}: its metadata are damaged ({error}); export it again") from None
        return cls.from_dict(content, source)

    @classmethod
    def from_dict(cls, content: Any, source: str) -> ModelInfo:
        """Read what `to_dict` gave, and check that it fits together; see `from_properties`."""
        if not isinstance(content, Mapping) or "embcomp_format" not in content:
            raise ArtifactError(
                f"{source} was not written by embcomp export: it does not say its labels and sample rate"
            )
        content = dict(content)
        if (found := content.pop("embcomp_format")) != FORMAT:
            raise ArtifactError(f"{source} has format {found!r}; this version of embcomp reads format {FORMAT}")
        damaged = ArtifactError(f"{source}: its metadata are damaged; export it again")
        try:
            for name in (*TUPLES, "shape"):
                content[name] = tuple(content.get(name, ()))
            info = cls(**content)
        except TypeError:
            raise damaged from None
        for item in fields(cls):
            value = getattr(info, item.name)
            wanted = {"str": str, "int": int, "float": (int, float), "bool": bool}.get(str(item.type).split("[")[0])
            if wanted and (not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool)):
                raise damaged
            if item.name in TUPLES and not all(isinstance(part, str) for part in value):
                raise damaged
        fits = info.input in INPUTS and info.samples in SAMPLES and bool(info.outputs)
        fits &= info.kind != "classifier" or (len(info.labels) == info.width > 1 and 0 < info.threshold < 1)
        dimensions = {"table": 1, "images": 3}.get(info.input, 0)
        fits &= len(info.shape) == dimensions and all(type(size) is int and size > 0 for size in info.shape)
        fits &= info.input != "table" or info.shape == (len(info.columns),)
        fits &= info.input in (*ROWS, "embedding") or (1000 <= info.sample_rate <= 384_000 and 0 < info.window <= 3600)
        if not fits or not isinstance(info.audio, dict):
            raise damaged
        return info
