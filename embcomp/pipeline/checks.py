"""The leak guards of a run: before anything is learned, after the compressors, and on what is scored."""

from __future__ import annotations

from embcomp.compression import Compressor
from embcomp.config import RunConfig
from embcomp.data.guards import (
    joined_groups,
    refuse_duplicates,
    refuse_seen,
    refuse_shared_clips,
    refuse_shared_groups,
    seen_among,
)
from embcomp.evaluation.table import Setting
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.pools import Learner, adapts, pools_for, target_parts
from embcomp.pipeline.stages.scoring import TRANSDUCTIVE, Tested
from embcomp.pipeline.workspace import Dataset, Split
from embcomp.storage.artifact import load_artifact
from embcomp.storage.seen import Seen
from embcomp.transfer.base import Source

# What is compared to find a clip on both sides.
UNITS = {"audio": "audio", "table": "row of inputs", "images": "image", "none": "vector"}


def listed(context: RunContext, given: dict[str, Seen | None]) -> dict[str, list[str]]:
    """The guards in words: under ``checked`` those that were run, under ``not_checked`` those that could not be.

    Parameters
    ----------
    given : dict of str to (Seen or None)
        From `given_teachers`.
    """
    manifest, config = context.source.manifest, context.config
    unit, without = manifest.unit, manifest.ungrouped
    audio = UNITS[config.data.inputs]
    share = f"no {audio}" + {"group": " and no group", "file": " and no file", "clip": ""}[unit]
    if config.split.allow_shared_groups:
        share = f"no {audio}"
    checked = [
        f"no {audio} is in two {unit}s of the training set"
        + (", or in two of its splits" * (config.split.by == "column")),
        f"fit, validation and test clips of each fold share {share}"
        + "; parts of a file that overlap count as the same audio" * (config.data.inputs == "audio"),
        f"no compressor was fitted on a clip that its {'student or ' * context.has_students}probe is tested on",
    ]
    if context.has_students:
        checked.append("no student was trained or stopped on a clip that it is tested on")
    if len(context.datasets) > 1:
        checked.insert(0, "no clip of a further data set is one of the training set's under another name")
    if context.pools:
        checked.insert(0, "no unlabelled clip is a clip of the training set or of a further data set")
    words = transductive_words(context)
    if Setting.TRANSDUCTIVE_SAME in words:
        checked[-2:] = [f"{one}, but in rows of the setting {str(Setting.TRANSDUCTIVE_SAME)!r}" for one in checked[-2:]]
    checked += [text for setting, text in words.items() if setting == Setting.TRANSDUCTIVE]
    missing = [text for setting, text in words.items() if setting == Setting.TRANSDUCTIVE_SAME]
    if unit != "group":
        missing.append(
            "whether clips of one speaker, machine or recording are on both sides: the manifest gives no groups"
        )
    elif without:
        missing.append(
            f"whether {without} of {len(manifest)} clips share a speaker, machine or recording with others: they have no group"
        )
    if config.split.allow_shared_groups:
        missing.append("whether training and test clips share a group: split.allow_shared_groups accepts it")
    checked += [
        f"the teacher {spec} was learned from no clip that is tested"
        for spec, seen in given.items()
        if seen is not None
    ]
    missing += [
        f"whether the teacher {spec} was made from clips that are tested"
        for spec, seen in given.items()
        if seen is None
    ]
    return {"checked": checked, "not_checked": missing}


def transductive_words(context: RunContext) -> dict[Setting, str]:
    """What rows of a transductive setting are, by the setting; nothing where no variant learns from tested sets."""
    named: dict[str, list[str]] = {}
    for one in context.config.variants:
        if how := adapts(one):
            named.setdefault(how, []).append(one.name)
    words = {
        "groups": "learned from clips of other groups of the set than those it is scored on, without their labels",
        "clips": "learned from the very clips that it is scored on, without their labels",
    }
    start = {"groups": "", "clips": "whether scores hold for other clips, "}
    return {
        TRANSDUCTIVE[
            how
        ]: f"{start[how]}in rows of the setting {str(TRANSDUCTIVE[how])!r} ({', '.join(names)}): each student "
        + words[how]
        for how, names in named.items()
    }


def check_datasets(datasets: list[Dataset], config: RunConfig) -> dict[str, int]:
    """Refuse repeated audio between data sets, and between groups of the one trained on.

    Returns
    -------
    dict
        ``shared_clips``, ``duplicate_clips`` (repeats that stay on one side) and ``joined_groups``.

    Raises
    ------
    ManifestError
        Names the clips.
    """
    source, content = datasets[0], UNITS[config.data.inputs]
    for other in datasets[1:]:
        where = f"{source.manifest.name}, which is trained on, and {other.manifest.name}"
        refuse_shared_clips(source.hash_of, other.hash_of, where, content)
    sides = {"group": source.manifest.groups.tolist()}
    if config.split.by == "column":
        sides["split"] = source.manifest.splits.tolist()
    joined = 0
    if config.data.duplicates == "join":
        together = joined_groups(sides["group"], source.hashes)
        joined = len(set(sides["group"])) - len(set(together))
        sides["group"] = together
    advice = {
        "group": 'Keep one of each, give them one group, or set data.duplicates = "join" to keep such groups together',
        "split": "Keep one of each, or give them one split",
    }
    repeats = [
        refuse_duplicates(source.manifest.ids, source.hashes, side, source.manifest.name, kind, advice[kind], content)
        for kind, side in sides.items()
    ]
    return {"shared_clips": 0, "duplicate_clips": repeats[0], "joined_groups": joined}


def check_pools(datasets: list[Dataset], pools: list[Dataset], config: RunConfig) -> dict[str, int]:
    """Refuse an unlabelled clip that is also one of a data set: every clip of these is tested in some fold.

    Raises
    ------
    ManifestError
        Names the clips.
    """
    for pool in pools:
        for dataset in datasets:
            where = f"the unlabelled set {pool.manifest.name} and {dataset.manifest.name}, which is tested"
            refuse_shared_clips(pool.hash_of, dataset.hash_of, where, UNITS[config.data.inputs])
    return {"unlabelled_test_clips": 0} if pools else {}


def check_splits(source: Dataset, splits: list[Split], config: RunConfig) -> dict[str, int]:
    """Refuse splits whose parts share audio, or groups where that was not accepted.

    Returns
    -------
    dict
        ``shared_clips``, and ``shared_groups``: the most that training and test clips of a fold share, which
        ``split.allow_shared_groups`` accepts.

    Raises
    ------
    ManifestError
        Names the fold and the clips, or the group.
    """
    group_of = dict(zip(source.manifest.ids, source.manifest.groups))
    most = 0
    for split in splits:
        parts = {
            name: {clip: source.hash_of[clip] for clip in getattr(split, name)}
            for name in ("fit", "validation", "test")
        }
        for one, other in (("fit", "validation"), ("fit", "test"), ("validation", "test")):
            where = f"fold {split.fold!r}: the {one} and {other} clips"
            refuse_shared_clips(parts[one], parts[other], where, UNITS[config.data.inputs])
        groups = {name: {group_of[clip] for clip in part} for name, part in parts.items()}
        shared = (groups["fit"] | groups["validation"]) & groups["test"]
        most = max(most, len(shared))
        if not config.split.allow_shared_groups:
            trained = groups["fit"] | groups["validation"]
            refuse_shared_groups(trained, groups["test"], f"fold {split.fold!r}", "Give each group one side")
        refuse_shared_groups(groups["fit"], groups["validation"], f"the validation part of fold {split.fold!r}", "")
    return {"shared_clips": 0, "shared_groups": most}


def given_teachers(context: RunContext) -> dict[str, Seen | None]:
    """Teachers that the run did not learn itself, by how they are written, with the clips they were learned from.

    None where that is not known, as of models that others trained.
    """
    found: dict[str, Seen | None] = {}
    manifests = [one.manifest for one in context.sets]
    for teacher in dict.fromkeys(one.teacher for one in context.config.variants if one.transfer.source != Source.NONE):
        found |= teacher.choice.learned_from(teacher, manifests)
    if context.config.data.inputs != "audio":
        return dict.fromkeys(found)  # teachers are learned from audio, and what is tested has keys of another kind
    return found


def check_teachers(plan: Plan, given: dict[str, Seen | None]) -> dict[str, int]:
    """Refuse a teacher that was learned from a clip that is tested, before anything is learned.

    Parameters
    ----------
    given : dict of str to (Seen or None)
        From `given_teachers`.

    Raises
    ------
    DataError
        Names the teacher and the clip.
    """
    context = plan.context
    tested = {clip: context.source.hash_of[clip] for split in plan.splits for clip in split.test}
    for dataset in context.datasets[1:]:
        tested |= {f"{dataset.manifest.name}: {clip}": key for clip, key in dataset.hash_of.items()}
    advice = "Learn it from other clips, or take one that each fold learns from its training clips: kmeans"
    known = {spec: seen for spec, seen in given.items() if seen is not None}
    for spec, seen in known.items():
        refuse_seen(f"the teacher {spec} was learned from", seen.among, tested, advice)
    return {"teacher_seen_test": 0} if known else {}


def check_compressors(plan: Plan) -> dict[str, int]:
    """Refuse a compressor fitted on a clip that is tested with it.

    A run fits its own on the fit rows alone; this reads what is in the run's folder.

    Raises
    ------
    DataError
        Names the compressor and the clip.
    """
    known = set()
    for one in plan.students + plan.probes:
        path = one.job.compressor
        tested = None if path is None else _tested(plan, one)
        if path is not None and (path, one.split.key, *tested) not in known:
            known.add((path, one.split.key, *tested))
            refuse_seen(f"the compressor {path} was fitted on", Compressor.load(path).seen, tested)
    return {"compressor_seen_test": 0}


def check_students(plan: Plan) -> dict[str, int]:
    """Refuse a student that was trained or stopped on a clip it is tested on.

    Raises
    ------
    DataError
        Names the student and the clip.
    """
    for one in plan.students:
        seen = seen_among(load_artifact(one.student, "student")[0]["seen"])
        refuse_seen(f"the student {one.student} was trained on", seen, _tested(plan, one))
    return {"student_seen_test": 0} if plan.students else {}


def check_transductive(plan: Plan) -> dict[str, int]:
    """Refuse a clip that is learned from without its label and scored as if it were not, before anything is learned.

    Raises
    ------
    ManifestError
        Names the clips.
    """
    context, known, count = plan.context, set(), 0
    for one in plan.students:
        variant = context.variant(one.variant)
        pools = [
            pool
            for pool in pools_for(context, variant, Learner.STUDENT, one.split)
            if pool.number < len(context.datasets)
        ]
        asked = (adapts(variant), one.split.fold, one.split.seed if 0 in [pool.number for pool in pools] else "")
        if not pools or asked in known:
            continue
        known.add(asked)
        count = max(count, sum(len(pool.ids) for pool in pools))
        tested = _tested(plan, one)
        for pool in pools:
            learned = dict(zip(pool.ids, pool.hashes))
            where = f"the clips of {pool.dataset.manifest.name} that are learned from without labels and those that are scored"
            refuse_shared_clips(learned, tested, where, UNITS[context.config.data.inputs])
    return {"transductive_clips": count} if known else {}


def _tested(plan: Plan, one: Tested) -> dict[str, str]:
    """Content hash of every clip, by name, of whose audio a student or probe is said to have learned nothing."""
    context, split, tested = plan.context, one.split, {}
    for number, how in dict.fromkeys((test.dataset, test.transductive) for test in one.tests):
        dataset = context.datasets[number]
        if how == "clips":
            continue  # its rows say that it learned from them
        if how:
            ids = target_parts(context, number, split, how)[1]
        else:
            ids = dataset.manifest.ids if number else split.test
        name = f"{dataset.manifest.name}: " if number else ""
        tested |= {f"{name}{clip}": dataset.hash_of[clip] for clip in ids}
    return tested
