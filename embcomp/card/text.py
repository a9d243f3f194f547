"""The text of a model card: Hugging Face's YAML head, then Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from embcomp.card.facts import UNKNOWN, Evidence, Score, teacher_licence

LOWER = ("log_loss", "ece")  # metrics of which less is better
TASK = "audio-classification"
TASKS = {"audio": TASK, "table": "tabular-classification", "images": "image-classification"}


def student_card(
    config: Mapping[str, Any], name: str, result: Mapping[str, Any], evidence: Evidence, license: str = UNKNOWN
) -> str:
    """Card of a student.

    Parameters
    ----------
    config : mapping
        Content of its config.json.
    result : mapping
        Content of its result.json; empty where there is none.
    license : str
        Identifier as the hub has them, ``cc-by-4.0`` say.
    """
    about, audio = config.get("about", {}), config.get("audio", {})
    classes = [str(label) for label in config.get("classes", ())]
    kind = str(config.get("student", {}).get("kind", "student"))
    method, teacher = str(about.get("method", "")), str(about.get("teacher", "") or "")
    inputs = config.get("inputs") or {"kind": "audio"}
    of_audio, task = inputs.get("kind") == "audio", TASKS.get(str(inputs.get("kind")), TASK)
    tags = [task, "embcomp", kind, *(["knowledge-distillation"] if teacher else [])]
    seconds, rate = float(audio.get("seconds", 0)), int(audio.get("sample_rate", 0))
    several = bool(config.get("multi_label"))
    trained = max(0, len(config.get("seen", ())) - int(about.get("unlabelled", 0)))
    what = {"table": "classifier of table rows", "images": "image classifier"}.get(
        inputs.get("kind"), "audio classifier"
    )
    given = '"recordings/*.wav"' if of_audio else f'"{_file_of(inputs)}"'
    lines = _head(name, license, tags, task, evidence.scores)
    lines += [
        f"# {_plain(name)}",
        "",
        f"A small {what} (`{kind}`) of {len(classes)} classes, trained with embcomp.",
        "",
        *_code("python", ["import embcomp", "", f'found = embcomp.predict("STUDENT", {given})  # its folder']),
        *_code(
            "",
            [
                f"embcomp predict STUDENT recordings --window {seconds:g}"
                if of_audio
                else f"embcomp predict STUDENT {_file_of(inputs)}"
            ],
        ),
        "## Input and output",
        "",
        f"- Audio at {rate} Hz, other rates are resampled; clips of up to {seconds:g} s, longer recordings in windows."
        if of_audio
        else f"- {_input_words(inputs)}",
        f"- {'Each class has its own probability' if several else 'One probability a class, which sum to 1'}.",
        f"- Classes: {', '.join(_plain(label) for label in classes)}",
        "",
        "## Data",
        "",
        f"- Trained on: {_plain(about.get('train_dataset') or UNKNOWN)}, "
        f"{trained} clips with those that decided when to stop.",
    ]
    if about.get("unlabelled"):
        lines.append(f"- Without labels: {about['unlabelled']} further clips.")
    if about.get("transductive"):
        lines.append(
            f"- Transductive: learned, without labels, from sets that it is tested on ({_plain(about['transductive'])})."
        )
    lines += ["- The licence of the data is not known to embcomp: check it before you publish the model.", ""]
    lines += _teacher(teacher, method, about)
    lines += _scores(evidence, result)
    lines += _guards(evidence)
    lines += [
        "## Limits",
        "",
        *(
            []
            if several
            else [
                "- It always names one of its classes, also for sounds that are none of them, and for silence."
                if of_audio
                else "- It always names one of its classes, also for inputs that are none of them."
            ]
        ),
        "- Its probabilities were not calibrated: .9 does not mean right nine times in ten.",
        "- Scores hold for recordings like those tested. Other microphones, places and backgrounds lower them."
        if of_audio
        else "- Scores hold for inputs like those tested; others lower them.",
        "- What was not tested is not known: nothing above speaks of groups of people, animals or machines apart.",
        "",
        "## Intended use",
        "",
        f"Labels for {'short clips' if of_audio else 'inputs'} of the {len(classes)} classes above, "
        f"{'in recordings ' * of_audio}like the training data. Not for "
        "decisions about people, nor where a wrong label does harm without somebody checking it.",
        "",
    ]
    lines += _origin(about, ("method", "compressor", "dim", "variant", "fold", "seed"))
    return "\n".join(lines)


def _file_of(inputs: Mapping[str, Any]) -> str:
    return "features.csv" if inputs.get("kind") == "table" else "images.npz"


def _input_words(inputs: Mapping[str, Any]) -> str:
    """What a student that takes no audio is given."""
    if inputs.get("kind") == "table":
        columns = [_plain(name) for name in inputs.get("columns", ())]
        return f"Rows of {len(columns)} numbers, in this order: {', '.join(columns)}"
    return f"Images of {' x '.join(map(str, inputs.get('shape', ())))} (channels, height, width)"


def compressor_card(config: Mapping[str, Any], name: str, license: str = UNKNOWN) -> str:
    """Card of a compressor; see `student_card`."""
    parameters = config.get("parameters", {})
    method, objective = str(parameters.get("method", "")), str(parameters.get("objective", ""))
    wide, narrow = config.get("n_features_in"), config.get("n_components")
    lines = _head(name, license, ["embcomp", "dimensionality-reduction", "embeddings"], "feature-extraction", ())
    lines += [
        f"# {_plain(name)}",
        "",
        f"Compresses embeddings of {wide} numbers to {narrow} (method `{method}`, objective `{objective}`), fitted with embcomp.",
        "",
        *_code(
            "python",
            ["from embcomp import Compressor", "", 'Compressor.load("COMPRESSOR").transform(X)  # embeddings (n, D)'],
        ),
        "## Data",
        "",
        f"- Fitted on {config.get('n_samples', UNKNOWN)} embeddings"
        + (f" of {len(config['classes'])} classes." if config.get("classes") else "."),
        "- The teacher that made them and its licence are not stored with a compressor: check them before you publish it.",
        "",
        "## Limits",
        "",
        "- It is of use for embeddings of the same teacher with the same settings only.",
        "- What it leaves out cannot be had back; how much that is depends on the data.",
        "",
        "## Intended use",
        "",
        "Small targets for students, small stores, quick search. It holds no audio.",
        "",
    ]
    return "\n".join(lines)


def _head(name: str, license: str, tags: Sequence[str], task: str, scores: Sequence[Score]) -> list[str]:
    # JSON is YAML, and quotes whatever a label or a name may hold.
    lines = ["---", f"license: {json.dumps(license)}", 'library_name: "embcomp"', f"pipeline_tag: {json.dumps(task)}"]
    lines += ["tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    if scores:
        lines += ["model-index:", f"- name: {_yaml(name)}", "  results:"]
        for place in dict.fromkeys((one.train, one.test, one.setting) for one in scores):
            some = [one for one in scores if (one.train, one.test, one.setting) == place]
            lines += [
                "  - task:",
                f"      type: {json.dumps(task)}",
                "    dataset:",
                f"      name: {_yaml(f'{place[1]} ({place[2]})')}",
                f"      type: {_yaml(place[1])}",
                "    metrics:",
            ]
            for one in some:
                lines += [f"    - type: {_yaml(one.metric)}", f"      value: {one.value:.4f}"]
    return [*lines, "---", ""]


def _teacher(teacher: str, method: str, about: Mapping[str, Any]) -> list[str]:
    if not teacher:
        return ["## Teacher", "", "None: trained on labels alone.", ""]
    licence = teacher_licence(teacher)
    words = f"learned from {licence}" if licence.startswith("the training clips") else f"licence: {licence}"
    compressed = f", its embeddings compressed to {about['dim']} numbers" if about.get("compressor") else ""
    return [
        "## Teacher",
        "",
        f"`{_quoted(teacher)}` ({_plain(words)}), by the transfer method `{method}`{compressed}. Terms of a teacher "
        "may bind what is trained from it.",
        "",
    ]


def _scores(evidence: Evidence, result: Mapping[str, Any]) -> list[str]:
    lines = ["## Scores", ""]
    if evidence.scores:
        if evidence.of:
            lines += [f"Of {evidence.of}.", ""]
        for train in dict.fromkeys(one.train for one in evidence.scores):
            lines += [*_table([one for one in evidence.scores if one.train == train]), ""]
        lines += ["In brackets: bootstrap intervals over the groups of clips that were tested."]
        if lower := [name for name in LOWER if any(one.metric == name for one in evidence.scores)]:
            lines.append(f"Of {' and '.join(map(_plain, lower))} less is better.")
        lines.append("")
    else:
        lines += ["Not tested yet: `embcomp evaluate`, then `embcomp card --scores`.", ""]
    if isinstance(value := result.get("validation_score"), int | float):
        lines += [
            f"On the clips that decided when to stop: {value:.3f}. That is no result: training was chosen by it.",
            "",
        ]
    return lines


def _table(scores: Sequence[Score]) -> list[str]:
    """Scores of what was trained on one data set: a row for each metric, a column for each set and setting tested."""
    places: dict[tuple[str, str], dict[str, Score]] = {}
    for one in scores:
        places.setdefault((one.test, one.setting), {})[one.metric] = one
    heads = [
        f"{test}, {setting}, {max(one.n for one in found.values())} clips" for (test, setting), found in places.items()
    ]
    lines = [" | ".join([f"| trained on {_plain(scores[0].train)}", *map(_plain, heads)]) + " |"]
    lines.append("|---|" + "---:|" * len(heads))
    for metric in dict.fromkeys(one.metric for one in scores):
        cells = [_value(found.get(metric)) for found in places.values()]
        lines.append("| " + " | ".join([_plain(metric), *cells]) + " |")
    return lines


def _value(score: Score | None) -> str:
    if score is None:
        return ""
    interval = "" if score.low is None or score.high is None else f" ({score.low:.3f} to {score.high:.3f})"
    return f"{score.value:.3f}{interval}"


def _guards(evidence: Evidence) -> list[str]:
    lines = ["## Checks against leaks", ""]
    if not evidence.guards and not evidence.not_checked:
        return [*lines, "None is recorded for this model.", ""]
    lines += [f"- passed: {_plain(text)}" for text in evidence.guards]
    lines += [f"- could not be checked: {_plain(text)}" for text in evidence.not_checked]
    return [*lines, ""]


def _origin(about: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    from embcomp import __version__

    known = [f"{name} {_plain(about[name])}" for name in names if about.get(name) not in (None, "")]
    return ["## Origin", "", f"embcomp {__version__}" + "".join(f", {text}" for text in known) + ".", ""]


def _code(language: str, lines: Sequence[str]) -> list[str]:
    return [f"```{language}", *lines, "```", ""]


def _plain(text: object) -> str:
    """Text that is shown as it is: neither a table's cell ends in it, nor a tag or a link begins."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))


def _quoted(text: str) -> str:
    return re.sub(r"[`\"\\\s]+", " ", text).strip()


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
