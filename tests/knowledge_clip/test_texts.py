"""Captions and text teachers of Knowledge-CLIP, and its recipe."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.recipe_scripts import RECIPES, ROOT
from helpers.tones import write_tones

from embcomp.data.labels import encode
from embcomp.errors import ConfigError, DataError, ManifestError, MissingDependencyError, StoreError
from embcomp.knowledge_clip import TEMPLATES, Captions, caption_vectors, default_prompts, read_captions, read_prompts

TEXTS = ("a dog barks", "the dog barks", "heavy rain", "rain on a roof")


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_captions_of_a_clip_are_the_prompts_of_its_labels():
    prompts = {"dog": ["a dog", "barking"], "cat": ["a cat", "an animal"], "cow": ["a cow", "an animal"]}
    captions = Captions.from_labels(encode(["dog", "cow", "cat", "dog"]), prompts)
    assert captions.texts == ("a dog", "barking", "a cow", "an animal", "a cat")
    # What two labels share is a caption of both.
    assert captions.matches.astype(int).tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 1, 1], [1, 1, 0, 0, 0]]
    several = Captions.from_labels(encode(["dog|cat", "cow"]), prompts)
    assert several.matches.sum(1).tolist() == [4, 2]
    part = captions.select(np.array([2, 1]))
    assert part.texts == ("a cow", "an animal", "a cat") and part.matches.tolist() == [
        [False, True, True],
        [True, True, False],
    ]


def test_every_caption_of_a_clip_is_drawn_equally_often_and_no_other():
    captions = Captions.from_lists([["a", "b"], ["b"], ["c", "a", "b"]])
    rows = torch.tensor([0, 1, 2] * 600)
    drawn = captions.draw(rows, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, captions.draw(rows, torch.Generator().manual_seed(0)))
    counts = torch.zeros(3, 3).index_put_((rows, drawn), torch.tensor(1.0), accumulate=True) / 600
    torch.testing.assert_close(
        counts, torch.tensor([[0.5, 0.5, 0], [0, 1, 0], [1 / 3, 1 / 3, 1 / 3]]), atol=0.06, rtol=0
    )


def test_tables_of_captions_are_read(tmp_path):
    path = write(
        tmp_path / "a.csv", "path,label,caption", "x.wav,dog,a dog", 'y.wav,cat,"a cat, asleep"', "x.wav,dog,barks"
    )
    assert read_prompts(path) == {"dog": ["a dog", "barks"], "cat": ["a cat, asleep"]}
    captions = read_captions(path, ["y.wav", "x.wav"])
    assert captions.texts == ("a cat, asleep", "a dog", "barks")
    assert captions.matches.tolist() == [[True, False, False], [False, True, True]]
    assert len(default_prompts(["sea_waves"])["sea_waves"]) == len(TEMPLATES)


def test_misuse_of_captions_is_told(tmp_path):
    prompts = {"dgo": ["a dog"], "cat": ["a cat"]}
    with pytest.raises(DataError, match="no prompt for the label 'dog'; did you mean 'dgo'"):
        Captions.from_labels(encode(["dog", "cat"]), prompts)
    with pytest.raises(DataError, match="1 clips have no caption, number 1 first"):
        Captions.from_labels(encode(["dog", "", "cat"]), {"dog": ["a dog"], "cat": ["a cat"]})
    path = write(tmp_path / "a.csv", "path,caption", "x.wav,a dog")
    with pytest.raises(DataError, match="1 clips have no caption, y.wav first"):
        read_captions(path, ["x.wav", "y.wav"])
    with pytest.raises(ManifestError, match="no column 'label' \\(found: path, caption\\)"):
        read_prompts(path)
    with pytest.raises(ManifestError, match="row 3: label and caption must both be given"):
        read_prompts(write(tmp_path / "b.csv", "label,caption", "dog,barks", "cat,"))
    with pytest.raises(ManifestError, match="cannot read"):
        read_prompts(tmp_path / "none.csv")


def test_lsa_puts_captions_that_share_words_near_each_other():
    vectors = caption_vectors("lsa", TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (4, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > 0.8 and likeness[2, 3] > likeness[0, 2] and abs(likeness[1, 2]) < 0.3
    np.testing.assert_array_equal(caption_vectors("lsa", TEXTS), vectors)


def test_stored_vectors_are_found_by_their_text(tmp_path):
    stored = np.arange(8, dtype=np.float64).reshape(4, 2)
    np.save(tmp_path / "vectors.npy", stored)
    pd.DataFrame({"text": TEXTS}).to_csv(tmp_path / "texts.csv", index=False)
    found = caption_vectors(f"vectors:{tmp_path}", [TEXTS[2], TEXTS[0]])
    assert found.dtype == np.float32 and found.tolist() == stored[[2, 0]].tolist()
    with pytest.raises(StoreError, match="lacks 1 captions, 'snow' first"):
        caption_vectors(f"vectors:{tmp_path}", ["snow", TEXTS[0]])
    np.save(tmp_path / "vectors.npy", stored[:3])
    with pytest.raises(StoreError, match="one row for each of the texts"):
        caption_vectors(f"vectors:{tmp_path}", TEXTS)
    np.save(tmp_path / "vectors.npy", np.full((4, 2), np.nan))
    with pytest.raises(DataError, match="NaN or infinity"):
        caption_vectors(f"vectors:{tmp_path}", TEXTS)
    np.save(tmp_path / "vectors.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="cannot read"):
        caption_vectors(f"vectors:{tmp_path}", TEXTS)
    write(tmp_path / "texts.csv", "caption", "rain")
    with pytest.raises(StoreError, match="no column 'text'"):
        caption_vectors(f"vectors:{tmp_path}", TEXTS)


class FakeModel:
    """Stands for a sentence-transformers model: what its package would be asked for."""

    def __init__(self, name, device):
        if name != "tiny":
            raise OSError("no such model")
        self.device = device

    def encode(self, texts, convert_to_numpy, normalize_embeddings, show_progress_bar):
        assert isinstance(texts, list) and convert_to_numpy and normalize_embeddings and not show_progress_bar
        return np.array([[len(text), 1.0] for text in texts])


def test_a_model_of_sentence_transformers_is_asked_for_unit_vectors(monkeypatch):
    package = ModuleType("sentence_transformers")
    package.SentenceTransformer = FakeModel
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    found = caption_vectors("sentence-transformers:tiny", TEXTS)
    assert found.dtype == np.float32 and found[:, 0].tolist() == [len(text) for text in TEXTS]
    with pytest.raises(ConfigError, match="cannot load 'large': no such model"):
        caption_vectors("sentence-transformers:large", TEXTS)


def test_a_missing_package_is_told_with_its_mend(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match="pip install sentence-transformers"):
        caption_vectors("sentence-transformers:any", TEXTS)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("lda", "unknown text teacher 'lda': did you mean 'lsa'"),
        ("lsa:3", "given as lsa, not"),
        ("vectors", "given as vectors:FOLDER"),
        ("sentence-transformers", "given as sentence-transformers:NAME_OR_FOLDER"),
    ],
)
def test_a_wrong_teacher_is_named(spec, message):
    with pytest.raises(ConfigError, match=message):
        caption_vectors(spec, TEXTS)


def test_captions_that_say_nothing_are_refused():
    with pytest.raises(DataError, match="hold no words"):
        caption_vectors("lsa", ["!", "?"])
    with pytest.raises(DataError, match="two different captions"):
        caption_vectors("lsa", ["rain"])


# The recipe


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("recipes.knowledge_clip.run")


def test_every_set_of_the_recipe_has_prompts_for_learning_and_others_for_asking(recipe):
    from embcomp.config import load

    for name in recipe.SETS:
        folder = RECIPES / "knowledge_clip" / "sets"
        load(folder / f"{name}.toml")
        known, other = read_prompts(folder / f"{name}.csv"), read_prompts(folder / f"{name}_other.csv")
        assert set(known) == set(other) and recipe.LEFT_OUT.get(name, 0) <= len(known) - 2
        assert not {text for texts in known.values() for text in texts} & {
            text for texts in other.values() for text in texts
        }


def test_the_recipe_trains_every_variant_and_shows_its_tables(recipe, tmp_path, monkeypatch):
    folder = tmp_path / "sets"
    folder.mkdir()
    write_tones(tmp_path / "data", classes=("high", "low", "lower"), groups=3, clips=1)
    texts = ["a high tone", "whistling", "a low tone", "humming", "a lower tone", "rumbling"]
    rows = [f"{label},{text}" for label, text in zip(np.repeat(["high", "low", "lower"], 2), texts)]
    write(folder / "tones.csv", "label,caption", *rows)
    write(folder / "tones_other.csv", "label,caption", "high,high sound", "low,low sound", "lower,lower sound")
    write(folder / "tones.toml", '[data]', 'train = "manifest.csv"', "[audio]", "seconds = 0.4", "n_mels = 24",
          "[student]", "width = 16", "[training]", "steps = 2", "batch_size = 4", "[evaluation]", "bootstrap = 20")  # fmt: skip
    monkeypatch.setattr(recipe, "HERE", tmp_path)
    monkeypatch.setattr(recipe, "VARIANTS", {"all": {"concepts": 2}, "hard": {"concepts": 2, "concept_labels": "hard"}})
    monkeypatch.setattr(recipe, "LEFT_OUT", {"tones": 2})
    config = recipe_config(recipe, tmp_path)
    study = recipe.Study("tones", config, "lsa", tmp_path / "out")
    found = pd.DataFrame([row for variant in recipe.VARIANTS for row in study.rows(variant, 2, lambda text: None)])
    tested = {"tones", "tones (other wording)", "tones (2 classes left out)"}
    assert set(found["test_dataset"]) == tested and set(found["seed"]) == {0, 1, "all"}
    assert set(recipe.RECALLS.values()) <= set(found["metric"]) and found["value"].between(0, 1).all()
    lines = recipe.tables(found)
    assert (
        sum(line.startswith("| all |") for line in lines) == 2
        and sum(line.startswith("| hard |") for line in lines) == 2
    )


def recipe_config(recipe, root):
    from embcomp.config import load

    return load(recipe.HERE / "sets" / "tones.toml", [f'data.root="{root / "data"}"'])


def test_the_recipe_asks_for_data_where_it_needs_some(recipe, tmp_path):
    done = CliRunner().invoke(recipe.main, ["--on", "esc10", "--out", str(tmp_path / "out")])
    assert done.exit_code == 2 and "give DATA" in done.stderr and not (tmp_path / "out").exists()


def test_the_tables_of_the_recipe_are_what_was_measured(recipe):
    folder = RECIPES / "knowledge_clip"
    lines = recipe.tables(pd.read_csv(folder / "results.csv"))
    shown = (folder / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) >= 16 and set(lines) <= set(shown)
