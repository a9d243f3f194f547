"""Ablation of Knowledge-CLIP on sound: python recipes/knowledge_clip/run.py [DATA --on esc10 --on fsdd] [--out DIR]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors

HERE = Path(__file__).resolve().parent
SETS = sorted(path.stem for path in (HERE / "sets").glob("*.toml"))
# Changes to the defaults, which are the weights of the paper.
VARIANTS = {
    "alpha 1, beta 0.01, gamma 1 (paper)": {},
    "without L_emb": {"alpha": 0.0},
    "without L_conc": {"beta": 0.0},
    "L_cont alone": {"alpha": 0.0, "beta": 0.0},
    "beta 1": {"beta": 1.0},
}
# Number of classes held out of a second training and classified by text alone. Not for digits: their words do not describe their sound.
LEFT_OUT = {"esc10": 3, "demo": 2}
METRIC = "balanced_accuracy"
RECALLS = {
    "clip to text @1": "audio_to_text_recall@1",
    "@5": "audio_to_text_recall@5",
    "@10": "audio_to_text_recall@10",
    "text to clip @1": "text_to_audio_recall@1",
    "@5 ": "text_to_audio_recall@5",
    "@10 ": "text_to_audio_recall@10",
    "concept": "concept_accuracy",
}


class Study:
    """One data set: its clips and captions, and the training and scoring of one variant with one seed.

    Parameters
    ----------
    name : str
        Of the data set, as in sets/.
    config : RunConfig
    teacher : str
        See `embcomp.knowledge_clip.caption_vectors`.
    """

    def __init__(self, name: str, config, teacher: str, out: Path):
        from embcomp.audio.clips import Clips
        from embcomp.audio.features import compute_features
        from embcomp.data.labels import encode
        from embcomp.data.manifest import Manifest
        from embcomp.data.splits import group_folds
        from embcomp.knowledge_clip import read_prompts

        self.config, self.teacher, self.left_out = config, teacher, LEFT_OUT.get(name, 0)
        clips, _ = Clips(
            Manifest.read(Path(config.data.root, config.data.train)), config.audio.sample_rate, config.audio.seconds
        ).usable(config.data.skip_bad)
        self.manifest, hashes = clips.manifest, clips.hashes()
        self.labels = encode(self.manifest.labels, check=False)
        self.prompts, self.other = (read_prompts(HERE / "sets" / f"{name}{end}.csv") for end in ("", "_other"))
        store = compute_features(clips, hashes, config.audio, out / f".{name}.logmel")
        self.features, self.lengths = store.load(self.manifest.ids)
        groups = self.manifest.groups
        self.folds = group_folds(self.labels.for_splits, groups, config.split.folds, config.split.seed)

    def rows(self, variant: str, seeds: int, say) -> list[dict]:
        """Rows of results.csv of one variant: each seed, and pooled."""
        from embcomp.evaluation.scores import score_rows

        name = self.manifest.name
        about = {
            "method": "knowledge_clip",
            "teacher": self.teacher,
            "compressor": "",
            "dim": "",
            "train_dataset": name,
            "unit": f"{self.manifest.unit}s",
            "unseen": self.manifest.unseen,
        }
        pieces: dict[str, list] = {}
        found = []
        for seed in range(seeds):
            say(f"{name}, {variant}, seed {seed}")
            predictions, numbers, count = self._one(VARIANTS[variant], seed)
            row = about | {"seed": seed, "variant": variant, "setting": "in-domain"}
            for tested, prediction in predictions.items():
                pieces.setdefault(tested, []).append(prediction)
                single = score_rows([prediction], self.config.evaluation, row | {"test_dataset": tested})
                found += [score | {"low": "", "high": ""} for score in single if score["metric"] == METRIC]
            extra = row | {"test_dataset": name, "low": "", "high": "", "n": count}
            found += [extra | {"metric": metric, "value": value} for metric, value in numbers.items()]
        for tested, several in pieces.items():
            row = about | {"seed": "all", "variant": variant, "setting": "in-domain", "test_dataset": tested}
            pooled = score_rows(several, self.config.evaluation, row)
            found += [score for score in pooled if score["metric"] == METRIC]
        return found

    def _one(self, weights: dict, seed: int):
        import numpy as np

        from embcomp.knowledge_clip import Captions, concept_accuracy, retrieval

        fold, name = self.folds[seed % len(self.folds)], self.manifest.name
        trained, captions = self._train(fold.train, weights, seed)
        test = fold.test
        predictions = {
            name: self._predict(trained.model, test, self.prompts),
            f"{name} (other wording)": self._predict(trained.model, test, self.other),
        }
        audio = trained.model.embed_audio(self.features[test], self.lengths[test])
        of_labels = Captions.from_labels(self.labels, self.prompts)
        matches = of_labels.matches[test][:, [of_labels.texts.index(text) for text in captions.texts]]
        numbers = retrieval(audio, trained.model.embed_text(captions.texts), matches)
        numbers["concept_accuracy"] = concept_accuracy(trained.objective, audio, matches)
        if self.left_out:
            drawn = np.random.default_rng(seed).permutation(len(self.labels.classes))[: self.left_out]
            known = fold.train[~np.isin(self.labels.index[fold.train], drawn)]
            held_out = test[np.isin(self.labels.index[test], drawn)]
            trained, _ = self._train(known, weights, seed)
            prompts = {self.labels.classes[number]: self.prompts[self.labels.classes[number]] for number in drawn}
            predictions[f"{name} ({self.left_out} classes left out)"] = self._predict(trained.model, held_out, prompts)
        return predictions, numbers, len(test)

    def _train(self, rows, weights: dict, seed: int):
        from embcomp.knowledge_clip import Captions, KnowledgeClipConfig, caption_vectors, train
        from embcomp.training.examples import Examples

        labels = self.labels.select(rows)
        captions = Captions.from_labels(labels, self.prompts)
        trained = train(
            Examples(self.features[rows], self.lengths[rows], labels),
            captions,
            caption_vectors(self.teacher, captions.texts, seed),
            audio=self.config.audio,
            student=self.config.variants[0].student,
            training=self.config.variants[0].training,
            config=KnowledgeClipConfig(**weights),
            seed=seed,
        )
        return trained, captions

    def _predict(self, model, rows, prompts):
        import numpy as np

        from embcomp.evaluation.scores import Predictions

        probabilities = np.zeros((len(rows), len(self.labels.classes)), dtype=np.float32)
        columns = [self.labels.classes.index(name) for name in prompts]
        probabilities[:, columns] = model.predict(self.features[rows], self.lengths[rows], prompts).numpy()
        part = self.manifest.select(rows)
        return Predictions(
            np.array(part.ids, dtype=object), part.groups, self.labels.index[rows], probabilities, self.labels.classes
        )


def tables(results) -> list[str]:
    """The tables of README.md from the rows of results.csv: balanced accuracy, then recall and concepts."""
    from embcomp.evaluation.scores import summarise
    from embcomp.report import table_lines
    from embcomp.report.tables import Column, unseen_of

    lines = []
    summary = summarise(results, METRIC)
    for _, part in summary.groupby("train_dataset", sort=False):
        lines += [*table_lines(part), ""]
    for name, part in results[results["seed"].astype(str) != "all"].groupby("train_dataset", sort=False):
        title = Column("in-domain", name, name).title(unseen_of(summary, name))
        lines += [f"| {title} | {' | '.join(RECALLS)} |", "|---" * (len(RECALLS) + 1) + "|"]
        means = part[part["test_dataset"] == name].groupby(["variant", "metric"], sort=False)["value"].mean()
        for variant in dict.fromkeys(part["variant"]):
            cells = [f"{means[variant, metric]:.3f}" for metric in RECALLS.values()]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
        lines.append("")
    return lines


@click.command("knowledge_clip")
@click.argument("data", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--on", "names", multiple=True, type=click.Choice(SETS), help="Data set in DATA; repeatable.")
@click.option("--variant", "variants", multiple=True, type=click.Choice(list(VARIANTS)), help="Only these; repeatable.")
@click.option("--teacher", default="lsa", show_default=True, help="lsa, vectors:FOLDER, sentence-transformers:NAME.")
@click.option(
    "--seeds", default=3, show_default=True, type=click.IntRange(1), help="Number of seeds; each tests the next fold."
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
@click.option(
    "--out", default="runs/knowledge_clip", show_default=True, type=click.Path(file_okay=False, path_type=Path)
)
def main(data, names, variants, teacher: str, seeds: int, overrides, out: Path) -> None:
    """Train with the full objective and with parts of it, and write OUT/results.csv.

    Without DATA, on synthetic sounds generated in OUT.
    """
    with input_errors():
        import pandas as pd
        import torch

        from embcomp.config import load
        from embcomp.errors import ConfigError
        from embcomp.evaluation.scores import COLUMNS
        from embcomp.storage.files import write_text

        if data is None and set(names) - {"demo"}:
            raise ConfigError("give DATA, the folder of the data sets, or leave out --on for synthetic sounds")
        if data is None:
            from embcomp.demo import render

            data, names = render(out / "sounds").plain.parent, ("demo",)
        found = []
        torch.set_num_threads(1)
        for name in names or ("esc10",):
            root = f"data.root={json.dumps(str(data.resolve()))}"
            config = load(HERE / "sets" / f"{name}.toml", [*overrides, root])
            study = Study(name, config, teacher, out)
            for variant in variants or VARIANTS:
                found += study.rows(variant, seeds, lambda text: click.echo(text, err=True))
        table = pd.DataFrame(found)[[*COLUMNS, "variant", "setting"]]
        write_text(out / "results.csv", table.to_csv(index=False, float_format="%.5g", lineterminator="\n"))
        click.echo("\n".join(tables(pd.read_csv(out / "results.csv"))))


if __name__ == "__main__":
    main()
