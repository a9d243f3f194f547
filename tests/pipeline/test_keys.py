"""The path of every stage changes with everything that its result depends on, and with nothing else.

Only paths are planned, nothing is computed. What depends on what is written down here a second time; settings are
taken from the classes, so that a new one is tried too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.runs import tiny
from helpers.settings import student_settings, teacher_settings, transfer_settings
from helpers.tones import write_tones

from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages import compressor, embeddings, features, probe, scoring, student
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.pools import adapts
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits
from embcomp.students import STUDENTS
from embcomp.teachers import KMeansTeacher
from embcomp.transfer import METHODS, Source

SETS = ("home", "abroad", "pool")
TAUGHT, COMPRESSED = ("raw", "pca", "compressed", "joint"), ("pca", "compressed", "joint")
EVERYONE = ("no teacher", *TAUGHT)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> SimpleNamespace:
    root = tmp_path_factory.mktemp("sets")
    for number, name in enumerate(SETS):
        write_tones(root / name, groups=4, clips=2, name=name, seed=number, rate=4000, seconds=0.05)
    (root / "map.csv").write_text("from,to\nhigh,low\n")
    sections = {"evaluation": {"shifts": ["noise:20"]}, "split": {"by": "column", "test": ["test"]}, "seeds": [0]}
    content = tiny(root, **sections)
    content["variants"].insert(2, {"name": "pca", "compressor": {"method": "pca", "objective": "reconstruction"}})
    manifests = [Manifest.read(root / name / "manifest.csv") for name in SETS]
    sets = [Dataset(one, tuple(f"{name}{row}" for row in range(len(one)))) for name, one in zip(SETS, manifests)]
    config = parse(content)
    config = replace(config, data=replace(config.data, inputs="audio"))
    parts = SimpleNamespace(config=config, sets=sets, splits=make_splits(sets[0], config), folder=root / "out")
    parts.paths = paths(parts)
    return parts


def paths(base, **changes) -> dict[str, str]:
    """Path of every stage by its name, with `config`, `sets` or `splits` changed."""
    parts = SimpleNamespace(**{**vars(base), **changes})
    plan = Plan(RunContext(Workspace(base.folder), parts.config, parts.sets[:2], parts.sets[2:]), parts.splits)
    found, compressed_by = {}, {}
    for job in plan.features.values():
        found["shifted" if job.shift else f"inputs {SETS[job.number]}"] = job.path
    for one in plan.students:
        variant, job = plan.context.variant(one.variant), one.job
        found[f"student {one.variant}"] = str(one.student)
        if variant.transfer.source != Source.NONE:
            known = variant.teacher, one.split.fold, variant.training.unlabelled, adapts(variant)
            made = plan._embeddings_of[known].paths
            found |= {f"embedding of {name} for {one.variant}": path for name, path in zip(SETS, made)}
        if job.compressor:
            found[f"compressor {one.variant}"] = job.compressor
            compressed_by[job.compressor] = one.variant
    for one in plan.students + plan.probes:
        job = one.job
        if one.student:
            what = f"student {one.variant}"
        elif job.student:
            what = f"{one.variant}"
        elif job.embeddings:
            what = f"target of {compressed_by[job.compressor]}" if job.compressor else "embedding"
        else:
            what = "floor"
        found |= {f"test {what}: {t.probe} {t.setting} {SETS[t.dataset]}": t.path for t in one.tests}
    return found


def changed(base, **changes) -> set[str]:
    """Names of the stages that get another path; what is planned must stay the same."""
    after = paths(base, **changes)
    assert after.keys() == base.paths.keys()
    return {name for name, path in base.paths.items() if path != after[name]}


def starting(base, *starts: str) -> set[str]:
    return {name for name in base.paths if name.startswith(starts)}


def students(base, *variants: str) -> set[str]:
    """Students of these variants and all that is made of them."""
    starts = [(f"test student {name}:", f"test student of {name}:") for name in variants]
    return {f"student {name}" for name in variants} | starting(base, *(one for pair in starts for one in pair))


def compressors(base, *variants: str) -> set[str]:
    """Compressors of these variants and all that is made of them."""
    made = {f"compressor {name}" for name in variants} | students(base, *variants)
    return made | starting(base, *(f"test target of {name}:" for name in variants))


def embedded(base) -> set[str]:
    """All embeddings and all that is made of them."""
    return starting(base, "embedding", "test embedding:") | compressors(base, *COMPRESSED) | students(base, "raw")


def inputs(base) -> set[str]:
    """All that students get, and all that is made of it."""
    return starting(base, "inputs", "shifted", "test floor:") | students(base, *EVERYONE)


def other(name: str, value):
    """Another value of a setting; limits do not matter to a path."""
    if isinstance(value, bool):
        return not value
    if value == -1:  # the same as another setting
        return type(value)(0)
    if isinstance(value, str):
        return {"mix": "left"}.get(value, value + "x")
    return (*value, 0.5) if isinstance(value, tuple) else value + (1 if isinstance(value, int) else 0.25)


def each_setting(settings):
    """Every field of a section with the section in which it is another."""
    for item in dataclasses.fields(settings):
        if not item.metadata.get("hidden"):
            yield item.name, replace(settings, **{item.name: other(item.name, getattr(settings, item.name))})


def with_section(config, name: str, section, *variants: str):
    """The configuration where `variants` have another section."""
    return replace(
        config,
        variants=tuple(replace(one, **{name: section}) if one.name in variants else one for one in config.variants),
    )


def test_the_front_end(base):
    for name, audio in each_setting(base.config.audio):
        expected = set() if name == "ffmpeg" else inputs(base)  # a decoder gives what the other would
        if name in ("seconds", "channel"):
            expected = expected | embedded(base)
        assert changed(base, config=replace(base.config, audio=audio)) == expected, name


def test_a_teacher_that_is_learned(base):
    for name, teacher in each_setting(base.config.variants[0].teacher):
        assert changed(base, config=with_section(base.config, "teacher", teacher, *EVERYONE)) == embedded(base), name


def test_a_teacher_that_is_opened_counts_by_its_weights(base, tmp_path):
    def opened(seed: int, frames: int = 1, **audio) -> dict[str, str]:
        torch.manual_seed(seed)
        folder = tmp_path / f"{seed}"
        KMeansTeacher(torch.zeros(64), torch.randn(64, 4), torch.randn(3, 4)).save(folder)
        teacher = teacher_settings(spec=f"kmeans:{folder}", frames=frames)
        config = replace(base.config, audio=replace(base.config.audio, **audio))
        return paths(base, config=with_section(config, "teacher", teacher, *EVERYONE))

    first = opened(0)
    for change in (opened(1), opened(0, frames=2), opened(0, seconds=0.3), opened(0, channel="left")):
        assert {name for name in first if first[name] != change[name]} >= embedded(base)
    assert opened(0) == first


def test_compressors(base):
    for name, section in each_setting(base.config.variants[0].compressor):
        config = with_section(base.config, "compressor", section, "compressed")
        assert changed(base, config=config) == compressors(base, "compressed"), name


def test_training(base):
    for name, section in each_setting(base.config.variants[0].training):
        if name not in ("unlabelled", "transductive"):  # the second plans other tests: see test_transductive.py
            config = with_section(base.config, "training", section, "raw")
            # The first two are of views, and there are none; the others do not change what is trained.
            without = ("noise", "view_seed", "processes", "log")
            expected = set() if name in without else students(base, "raw")
            assert changed(base, config=config) == expected, name
    # All variants are changed, lest there be two teachers: it learns from the unlabelled clips too.
    without = replace(base.config.variants[0].training, unlabelled=False)
    found = changed(base, config=with_section(base.config, "training", without, *EVERYONE))
    assert found == embedded(base) | students(base, *EVERYONE)


def test_the_numbers_of_unlabelled_inputs(base):
    config = replace(base.config, data=replace(base.config.data, unlabelled_dtype="float16"))
    assert changed(base, config=config) == {"inputs pool"} | students(base, *TAUGHT)


def test_views(base):
    def planned(training, **changes) -> tuple[set[str], dict[str, str]]:
        parts = SimpleNamespace(
            **{**vars(base), "config": with_section(base.config, "training", training, "raw"), **changes}
        )
        plan = Plan(RunContext(Workspace(base.folder), parts.config, parts.sets[:2], parts.sets[2:]), parts.splits)
        return set(plan.views), paths(base, config=parts.config, **changes)

    training = replace(base.config.variants[0].training, views=2)
    views, before = planned(training)
    assert len(views) == 2 * 2 * 2  # numbers, sets, kinds
    for name, section in each_setting(training):
        if name in ("gain", "equaliser", "roll", "noise", "view_seed"):
            others, after = planned(section)
            assert not others & views, name
            assert {one for one in before if before[one] != after[one]} == students(base, "raw"), name
    others, after = planned(replace(training, views=3))
    assert others > views and before["student raw"] != after["student raw"]
    for number, clip in ((0, base.splits[0].fit[0]), (2, base.sets[2].manifest.ids[0])):
        others, _ = planned(training, sets=with_hash(base, number, clip))
        # A teacher that is learned hears them all.
        assert len(others & views) == 2
    assert planned(training, sets=with_label(base, 0, base.splits[0].fit[0]))[0] == views


@pytest.mark.parametrize("kind", [one.name for one in STUDENTS])
def test_students(base, kind):
    def planned(section) -> dict[str, str]:
        return paths(base, config=with_section(base.config, "student", section, "raw"))

    settings = student_settings(kind=kind)
    before = planned(settings)
    assert kind == base.config.variants[0].student.choice.name or before["student raw"] != base.paths["student raw"]
    for name, section in each_setting(settings):
        after = planned(section)
        assert {one for one in before if before[one] != after[one]} == students(base, "raw"), name


@pytest.mark.parametrize("method", [one.name for one in METHODS])
def test_transfer(base, method):
    only = [replace(base.config.variants[3], transfer=transfer_settings(method=method))]

    def planned(section) -> dict[str, str]:
        return paths(base, config=replace(base.config, variants=(replace(only[0], transfer=section),)))

    before = planned(only[0].transfer)
    made = {name for name in before if "student" in name}
    for name, section in each_setting(only[0].transfer):
        # The joint schedule starts from a compressor that it trains further; only its students are planned.
        if name != "schedule":
            after = planned(section)
            assert {one for one in before if before[one] != after.get(one)} == made, name
    assert base.paths["compressor joint"] != base.paths["compressor compressed"]


def test_evaluation_and_what_only_says_how_to_run(base):
    config = base.config
    for name, section in each_setting(config.evaluation):
        if name not in ("probe", "reestimate", "shifts", "seed"):  # other stages are planned, not other results
            assert not changed(base, config=replace(config, evaluation=section)), name
    noisy = {name for name in base.paths if " robustness " in name} | {"shifted"}
    seed = replace(config.evaluation, seed=1)
    assert changed(base, config=replace(config, evaluation=seed)) == noisy
    after = paths(base, config=replace(config, evaluation=replace(config.evaluation, shifts=("noise:10",))))
    assert {name for name in base.paths if base.paths[name] != after[name]} == noisy
    for change in ({"name": "x"}, {"workers": 3}, {"threads": 2}):
        assert not changed(base, config=replace(config, **change))
    assert changed(base, config=replace(config, device="cuda")) == students(base, *EVERYONE)


def test_a_label_map_is_for_tests_on_further_sets(base):
    config = replace(base.config, data=replace(base.config.data, label_map="map.csv"))
    assert changed(base, config=config) == {name for name in base.paths if name.endswith(" abroad") and "test" in name}


def with_hash(base, number: int, clip: str) -> list[Dataset]:
    sets = list(base.sets)
    hashes = [one if name != clip else "changed" for name, one in sets[number].hash_of.items()]
    sets[number] = Dataset(sets[number].manifest, tuple(hashes))
    return sets


def with_label(base, number: int, clip: str) -> list[Dataset]:
    sets = list(base.sets)
    manifest = sets[number].manifest
    table = manifest.table.copy()
    table["label"] = [
        label if name != clip else {"high": "low", "low": "high"}[label]
        for name, label in zip(manifest.ids, table["label"])
    ]
    sets[number] = Dataset(replace(manifest, table=table), sets[number].hashes)
    return sets


@pytest.mark.parametrize("part", ["fit", "validation", "test"])
def test_content_of_the_set_that_is_trained_on(base, part):
    clip = getattr(base.splits[0], part)[0]
    expected = set(base.paths) - {"inputs abroad", "inputs pool"}
    if part == "test":
        expected -= {f"embedding of {name} for {one}" for name in ("abroad", "pool") for one in TAUGHT}
    assert changed(base, sets=with_hash(base, 0, clip)) == expected


def test_content_of_further_and_of_unlabelled_sets(base):
    on_abroad = {name for name in base.paths if name.startswith("test") and name.endswith(" abroad")}
    own = {"inputs abroad", *(f"embedding of abroad for {one}" for one in TAUGHT)}
    # The probes on a teacher's vectors are one job, which reads those of every set.
    read = starting(base, "test embedding:", "test target of ")
    assert changed(base, sets=with_hash(base, 1, base.sets[1].manifest.ids[0])) == on_abroad | own | read
    pool = with_hash(base, 2, base.sets[2].manifest.ids[0])
    assert changed(base, sets=pool) == embedded(base) | {"inputs pool"}


@pytest.mark.parametrize("part", ["fit", "validation", "test"])
def test_labels_of_the_set_that_is_trained_on(base, part):
    clip = getattr(base.splits[0], part)[0]
    found = changed(base, sets=with_label(base, 0, clip))
    scored = {name for name in base.paths if name.startswith("test") and name.endswith(" home")}
    learned = {
        "fit": compressors(base, *COMPRESSED) | students(base, *EVERYONE) | starting(base, "test floor:", "test emb"),
        "validation": students(base, *EVERYONE),
        "test": set(),
    }
    assert found == scored | learned[part]


def test_labels_of_further_and_of_unlabelled_sets(base):
    on_abroad = {name for name in base.paths if name.startswith("test") and name.endswith(" abroad")}
    assert changed(base, sets=with_label(base, 1, base.sets[1].manifest.ids[0])) == on_abroad
    assert not changed(base, sets=with_label(base, 2, base.sets[2].manifest.ids[0]))


def test_the_split(base):
    (split,) = base.splits
    everything_learned = compressors(base, *COMPRESSED) | students(base, *EVERYONE)
    tests = starting(base, "test")
    changes = {
        "fewer clips to fit on": (replace(split, fit=split.fit[1:]), embedded(base)),
        "to fit on, not to validate on": (
            replace(split, fit=[*split.fit, split.validation[0]], validation=split.validation[1:]), set(),
        ),
        "seed": (replace(split, seed=5), set()),
        "hidden": (replace(split, hidden=split.fit[:1]), set()),
        "classes": (replace(split, classes=[*split.classes, "z"]), set()),
    }  # fmt: skip
    for name, (new, more) in changes.items():
        assert changed(base, splits=[new]) == everything_learned | tests | more, name


VERSIONS = {
    "the front end": (features, "VERSION", inputs),
    "changed clips": (features, "SHIFT_VERSION", lambda base: {n for n in base.paths if "robust" in n} | {"shifted"}),
    "embeddings": (embeddings, "VERSION", embedded),
    "teachers": (embeddings, "TEACHER_VERSION", embedded),
    "compressors": (compressor, "VERSION", lambda base: compressors(base, *COMPRESSED)),
    "students": (student, "VERSION", lambda base: students(base, *EVERYONE)),
    "probes": (probe, "VERSION", lambda base: starting(base, "test") - starting(base, "test student ") | probes(base)),
    "adaptation": (scoring, "REESTIMATE_VERSION", lambda base: {n for n in base.paths if " adapted " in n}),
}


def probes(base) -> set[str]:
    return starting(base, "test student of ")


@pytest.mark.parametrize("stage", VERSIONS)
def test_the_version_of_a_stage(base, monkeypatch, stage):
    module, name, expected = VERSIONS[stage]
    monkeypatch.setattr(module, name, getattr(module, name) + 1)
    assert changed(base) == expected(base)


def test_long_trainings_begin_first_whatever_their_length_is_given_in(base):
    lengths = {"short": {"steps": 5}, "timed": {"minutes": 0.1}, "passes": {"epochs": 100}, "long": {"steps": 50}}
    variants = [{"name": name, "transfer": {"method": "none"}, "training": {"batch_size": 4, **length}} for name, length in lengths.items()]  # fmt: skip
    config = replace(parse({"name": "order", "variants": variants}), data=base.config.data)
    plan = Plan(RunContext(Workspace(base.folder), config, base.sets[:2], base.sets[2:]), base.splits)
    assert len(base.splits) == 1 and 100 * len(base.splits[0].fit) > 50 * 4
    names = {one.job.path: one.variant for one in plan.students}
    assert [names[job.path] for job in plan.student_jobs] == ["timed", "passes", "long", "short"]
