"""Tables, labels, stores and settings as they come from people: read, or refused by name."""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.tones import write_tones

from embcomp.cli import group
from embcomp.config import load
from embcomp.data.labels import encode, read_label_map
from embcomp.data.manifest import Manifest
from embcomp.data.splits import column_folds
from embcomp.errors import ConfigError, DataError, EmbcompError, ManifestError
from embcomp.storage.store import EmbeddingStore, write_store


def manifest(folder, text, encoding="utf-8"):
    (folder / "manifest.csv").write_bytes(text.encode(encoding))
    return folder / "manifest.csv"


# Encodings in combination; each alone is in test_manifest.py.
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoted", [False, True])
def test_marks_line_ends_and_quotes_in_every_combination(tmp_path, mark, line, quoted):
    rows = [["path", "label"], ["a b.wav", "crying baby"], ["ü.wav", "x|?y"]]
    text = mark + "".join(",".join(f'"{cell}"' if quoted else cell for cell in row) + line for row in rows)
    found = Manifest.read(manifest(tmp_path, text))
    assert (found.ids, found.labels) == (["a b.wav", "ü.wav"], ["crying baby", "x|?y"])
    assert found.table["row"].tolist() == [2, 3]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_wide_and_foreign_encodings_are_refused(tmp_path, encoding):
    with pytest.raises(ManifestError, match="manifest.csv"):
        Manifest.read(manifest(tmp_path, "path,label\nä.wav,größe\n", encoding))


LABELS = [
    "🐕",
    "👩‍👩‍👧",
    'say "hi"',
    "it's",
    "a,b",
    "two\nlines",
    "tab\there",
    "a/b\\c",
    "<b>&",
    "=1+1",
    "ß",
    "ﬁ",
    "%s",
    "é",
]


def test_labels_with_odd_characters_stay_apart_and_keep_their_names(tmp_path):
    import csv

    with open(tmp_path / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [["path", "label"], *([f"{number}.wav", label] for number, label in enumerate(LABELS))]
        )
    found = encode(Manifest.read(tmp_path / "manifest.csv").labels)
    assert sorted(found.classes) == sorted(LABELS) and not found.multi_label
    assert [found.classes[number] for number in found.index] == LABELS


def test_odd_labels_go_through_training_and_scoring(tmp_path):
    labels = ("🐕 a,b", 'say "hi"')
    home = write_tones(tmp_path / "home", groups=4, clips=2, name="home")
    text = home.read_text(encoding="utf-8").replace(",high,", f',"{labels[0]}",').replace(",low,", ',"say ""hi""",')
    home.write_text(text, encoding="utf-8")
    config = "seeds = [0]\nworkers = 1\n[data]\ntrain = 'home/manifest.csv'\n[audio]\nseconds = 0.3\nn_mels = 16\n[split]\nfolds = 2\nvalidation = 0.5\n"
    config += (
        "[student]\nwidth = 8\n[training]\nsteps = 4\nbatch_size = 8\nevaluate_every = 2\n[transfer]\nmethod = 'none'\n"
    )
    (tmp_path / "run.toml").write_text(config)
    done = CliRunner().invoke(group, ["run", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, (done.output, done.exception)
    (predictions, *_) = (tmp_path / "out/stages/predictions").iterdir()
    assert all(label.replace('"', '""') in predictions.read_text(encoding="utf-8") for label in labels)


def test_one_class_is_refused_where_there_is_nothing_to_tell_apart(tmp_path):
    home = write_tones(tmp_path / "home", classes=("only",), groups=4, clips=2)
    for command in (
        ["distill", str(home), "--transfer", "none", "--out", str(tmp_path / "s"), "--set", "training.steps=2"],
        ["run", str(tmp_path / "run.toml"), "--out", str(tmp_path / "r"), "--set", "training.steps=2"],
    ):
        (tmp_path / "run.toml").write_text(
            "seeds = [0]\nworkers = 1\n[data]\ntrain = 'home/manifest.csv'\n[transfer]\nmethod = 'none'\n"
        )
        done = CliRunner().invoke(group, command)
        assert isinstance(done.exception, EmbcompError) and "class" in str(done.exception), done.exception


def test_a_split_column_that_parts_nothing_is_refused():
    groups = np.array(list("aabbcc"), dtype=object)
    for values in ([""] * 6, ["train"] * 6):
        with pytest.raises(ManifestError, match="two values or more are needed"):
            column_folds(np.array(values, dtype=object), groups, (), False)


@pytest.fixture
def stores(tmp_path):
    """Embeddings of 24 clips with their manifest, of other widths, of other clips, and of none."""
    home = write_tones(tmp_path / "home")
    ids = Manifest.read(home).ids
    rng = np.random.default_rng(0)

    def store(name, ids, dim):
        values = rng.normal(size=(len(ids), dim)).astype(np.float32)
        write_store(
            tmp_path / name, ids, [f"h{number}" for number in range(len(ids))], dim, {}, lambda rows: values[rows]
        )
        return str(tmp_path / name)

    return str(home), store("six", ids, 6), store("five", ids, 5), store("others", ["x", "y"], 6), store("none", [], 6)


def said(*arguments):
    error = CliRunner().invoke(group, list(map(str, arguments))).exception
    assert isinstance(error, EmbcompError), repr(error)
    return str(error)


def test_stores_of_other_widths_or_clips_and_empty_ones_are_refused(stores, tmp_path):
    home, six, five, others, none = stores
    pca = ["--method", "pca", "--dim", "2", "--out"]
    assert CliRunner().invoke(group, ["compress", six, *pca, str(tmp_path / "c")]).exit_code == 0
    assert "holds 5 dimensions" in said("apply", tmp_path / "c", five, "--out", tmp_path / "t")
    assert "lacks 24 of 24 clips" in said("compress", others, "--manifest", home, *pca, tmp_path / "d")
    assert said("compress", none, *pca, tmp_path / "d")
    assert "lacks 24 of 24 clips" in said("compress", none, "--manifest", home, *pca, tmp_path / "d")
    assert "lacks 24 of 24 clips" in said("distill", home, "--targets", none, "--out", tmp_path / "s")
    assert "lacks 24 of 24 clips" in said("sweep", others, "--manifest", home, "--out", tmp_path / "w")
    assert not any((tmp_path / name).exists() for name in ("t", "d", "s", "w"))


def test_an_empty_store_can_be_compressed_into_an_empty_store(stores, tmp_path):
    _, six, _, _, none = stores
    assert (
        CliRunner()
        .invoke(group, ["compress", six, "--method", "pca", "--dim", "2", "--out", str(tmp_path / "c")])
        .exit_code
        == 0
    )
    done = CliRunner().invoke(group, ["apply", str(tmp_path / "c"), none, "--out", str(tmp_path / "t")])
    assert done.exit_code == 0 or isinstance(done.exception, EmbcompError), done.exception
    if done.exit_code == 0:
        assert EmbeddingStore.open(tmp_path / "t").data.shape == (0, 2)


@pytest.mark.parametrize("text", ["", "from\n", "from,to\na,b\na,c\n", "to,from,from\na,b,c\n", "\0"])
def test_label_maps_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(EmbcompError, match="map.csv"):
        read_label_map(tmp_path / "map.csv")


@pytest.mark.parametrize(
    "text",
    ["seeds = [0", "seeds == 1", "[data\n", "a = 1\na = 2", "[data]\n[data]\n", "[[data]]\n", "[variants]\nname = 'a'", "seeds = 1979-05-27",
     "audio.seconds = 07:32:00", "data.train = \"\\x\"", "\0", "[data]\ntrain = ['a']", "seeds = [[1]]", "variants = 1", "threads = 1e3"],
)  # fmt: skip
def test_mistyped_settings_name_the_file(tmp_path, text):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ConfigError, match="run.toml"):
        load(tmp_path / "run.toml")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_settings_of_another_encoding_are_refused(tmp_path, encoding):
    (tmp_path / "run.toml").write_bytes("name = 'größe'\n".encode(encoding))
    with pytest.raises(ConfigError, match="run.toml"):
        load(tmp_path / "run.toml")


@pytest.mark.slow
def test_a_million_rows_are_read_in_seconds_and_little_memory(tmp_path):
    path = tmp_path / "manifest.csv"
    with open(path, "w") as file:
        file.write("path,label,group,split\n")
        file.writelines(f"audio/{row:07d}.wav,label{row % 50},group{row % 9999},train\n" for row in range(1_000_000))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    found = Manifest.read(path)
    assert len(found) == 1_000_000 and found.table["row"].iat[-1] == 1_000_001
    assert time.process_time() - started < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000
    labels = encode(found.labels)
    assert len(labels.classes) == 50


def test_rows_that_repeat_are_all_counted(tmp_path):
    with pytest.raises(ManifestError, match=r"row 3, 4, 5, 6, 7 and 94 more: the clip is named twice"):
        Manifest.read(manifest(tmp_path, "path,label\n" + "a.wav,x\n" * 100))


def test_labels_for_no_clip_are_a_data_error():
    with pytest.raises((DataError, ManifestError)):
        encode([])
