"""What every stage knows: the run it belongs to, and what a job carries to a worker."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from embcomp.audio.clips import Clips
from embcomp.audio.features import feature_settings
from embcomp.audio.shifts import Shift, parse_shift
from embcomp.config import RunConfig, VariantConfig, parse, to_dict
from embcomp.data.labels import find_label_map, read_label_map
from embcomp.pipeline.workspace import Dataset, Split, Workspace


@dataclass(frozen=True)
class RunContext:
    """What is the same for every stage of a run.

    Attributes
    ----------
    space : Workspace
    config : RunConfig
    datasets : list of Dataset
        The first is trained on.
    pools : list of Dataset
        Unlabelled sets, for the transfer loss alone.
    """

    space: Workspace
    config: RunConfig
    datasets: list[Dataset]
    pools: list[Dataset] = field(default_factory=list)

    @property
    def source(self) -> Dataset:
        """The data set trained on."""
        return self.datasets[0]

    @property
    def sets(self) -> list[Dataset]:
        """The data sets, then the unlabelled ones."""
        return [*self.datasets, *self.pools]

    def dtype_of(self, dataset: Dataset) -> str:
        """In which numbers the inputs of a set are kept."""
        of_pool = any(dataset is pool for pool in self.pools) and self.config.data.inputs == "audio"
        return self.config.data.unlabelled_dtype if of_pool else "float32"

    @property
    def has_students(self) -> bool:
        """Whether students are trained; without, probes on stored vectors compare the variants."""
        return self.config.data.inputs != "none"

    @functools.cached_property
    def input_settings(self) -> dict[str, Any]:
        """What students get, beside the content of the clips."""
        data = self.config.data
        if data.inputs in ("table", "images"):
            return {"kind": data.inputs, "columns": list(data.columns)}
        return feature_settings(self.config.audio)

    @functools.cached_property
    def job_fields(self) -> dict[str, Any]:
        """The fields of `Job`: all that a worker needs to find the same context."""
        return {
            "run": str(self.space.folder),
            "config": to_dict(self.config),
            "datasets": [dataset.key for dataset in self.datasets],
            "pools": [pool.key for pool in self.pools],
        }

    @functools.cached_property
    def shifts(self) -> dict[str, Shift]:
        """The changes of test clips that the run asks for, by how they are written; each once."""
        found = {text: parse_shift(text, self.config.audio) for text in self.config.evaluation.shifts}
        return {text: shift for shift, text in {shift: text for text, shift in found.items()}.items()}

    @functools.cached_property
    def label_map(self) -> dict[str, str]:
        """From the labels of the further sets to those of the first."""
        name = self.config.data.label_map
        return read_label_map(find_label_map(name, self.config.data.root)) if name else {}

    def variant(self, name: str) -> VariantConfig:
        """The variant of that name."""
        return next(variant for variant in self.config.variants if variant.name == name)

    def clips(self, dataset: Dataset, ids: list[str] | None = None) -> Clips:
        """The audio of a data set, or of its clips `ids`, as the run decodes it."""
        manifest = dataset.manifest if ids is None else dataset.manifest.select(dataset.rows(ids))
        return Clips.of(manifest, self.config.audio)


@dataclass(frozen=True)
class Job:
    """A piece of work that may run in another process: JSON-able, and complete without the run's memory.

    Attributes
    ----------
    run : str
        The run's folder.
    config : dict
        The resolved settings.
    datasets : list of str
        Keys of the run's data sets; the first is trained on.
    pools : list of str
        Keys of its unlabelled sets.
    """

    run: str
    config: dict[str, Any]
    datasets: list[str]
    pools: list[str]

    @property
    def outputs(self) -> list[str]:
        """Paths of what the job writes; where all exist it is done."""
        raise NotImplementedError

    def context(self) -> RunContext:
        """The run that this is a job of."""
        space = Workspace(self.run)
        datasets, pools = ([space.load_dataset(key) for key in keys] for keys in (self.datasets, self.pools))
        return RunContext(space, parse(self.config), datasets, pools)


def learning_clips(split: Split) -> list[str]:
    """Training clips of a fold, the same for every seed: sorted, so that one teacher serves all."""
    return sorted(split.fit + split.validation)
