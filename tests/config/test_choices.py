"""Settings of choices: which keys the chosen method, teacher or student has, and what a change of the choice does."""

from __future__ import annotations

import tomllib

import pytest

from embcomp.config import load, parse, to_toml
from embcomp.config.choices import SECTIONS
from embcomp.errors import ConfigError


def read(tmp_path, text, *overrides):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, overrides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"transfer": {"method": "none", "weight": 0.3}}, r"transfer\.weight: the transfer method 'none' has no such key; it belongs to: embedding,"),
        ({"transfer": {"method": "embedding", "kd_weight": 0.3}}, "'embedding' has no such key; it belongs to: embedding_kd$"),
        ({"transfer": {"method": "embedding", "temprature": 3.0}}, "unknown key 'transfer.temprature': did you mean 'temperature', of embedding_kd, logit_kd"),
        ({"student": {"kind": "cp_resnet", "width": 32}}, "the student 'cp_resnet' has no such key; it belongs to: ds_cnn"),
        ({"teacher": {"spec": "store:x", "centroids": 32}}, "the teacher 'store' has no such key; it belongs to: kmeans"),
        ({"variants": [{"name": "a", "transfer": {"method": "none", "weight": 0.3}}]}, r"variants\[0\]\.transfer\.weight: the transfer method 'none'"),
        ({"transfer": {"kd_weight": 0.3}, "variants": [{"name": "a"}, {"name": "b", "transfer": {"method": "none"}}]},
         r"transfer\.kd_weight: the transfer method 'compressed' and 'none' have no such key"),
        ({"transfer": {"method": "non"}}, r"transfer\.method: unknown transfer method 'non': did you mean 'none'"),
        ({"teacher": {"spec": "stor:x"}}, r"teacher\.spec: unknown teacher 'stor': did you mean 'store'"),
        ({"teacher": {"spec": 3}}, "teacher.spec must be a string, not 3"),
        ({"transfer": {"method": "embedding", "frames": True, "student_projector": True}}, "student_projector .* set it to false"),
        ({"transfer": {"method": "embedding", "frames": True}}, "set training.roll to 0"),
        ({"teacher": {"spec": "store:x"}, "transfer": {"method": "clip_teacher"}}, "cannot run at every step"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_choice_is_refused_when_the_configuration_is_read(content, message):
    with pytest.raises(ConfigError, match=message):
        parse(content)


def test_a_shared_key_holds_for_the_variants_whose_choice_has_it():
    config = parse(
        {
            "transfer": {"weight": 0.3, "temperature": 3.0},
            "variants": [
                {"name": "none", "transfer": {"method": "none"}},
                {"name": "kd", "transfer": {"method": "logit_kd"}},
                {"name": "raw", "transfer": {"method": "embedding", "weight": 0.7}},
            ],
        }
    )
    none, kd, raw = (variant.transfer for variant in config.variants)
    assert (kd.weight, kd.temperature, raw.weight) == (0.3, 3.0, 0.7)
    assert not hasattr(none, "weight") and not hasattr(raw, "temperature")
    assert parse(tomllib.loads(to_toml(config))) == config


def test_an_override_of_the_choice_takes_the_old_ones_settings_with_it(tmp_path):
    text = (
        '[teacher]\ncentroids = 32\nframes = 2\n[[variants]]\nname = "a"\nteacher.spec = "kmeans"\nteacher.seed = 3\n'
    )
    assert read(tmp_path, text, "teacher.spec=store:x").variants[0].teacher.spec == "store:x"
    with pytest.raises(ConfigError, match="'store' has no such key"):
        read(tmp_path, text, "teacher.spec=store:x", "teacher.centroids=8")
    kept = read(tmp_path, text, "teacher.spec=kmeans:folder").variants[0].teacher
    assert (kept.argument, kept.centroids, kept.frames, kept.seed) == ("folder", 32, 2, 3)


def test_what_earlier_versions_resolved_is_read_without_the_keys_of_other_choices(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        '[transfer]\nmethod = "none"\nweight = 0.5\nclusters = 0\n[student]\nkind = "cp_resnet"\nwidth = 64\n'
    )
    with pytest.raises(ConfigError, match="has no such key"):
        load(path)
    found = load(path, strict=False).variants[0]
    assert (found.transfer.method, found.student.kind) == ("none", "cp_resnet")
    path.write_text("[transfer]\nwieght = 0.5\n")
    with pytest.raises(ConfigError, match="did you mean 'weight'"):
        load(path, strict=False)


@pytest.mark.parametrize("section", SECTIONS)
def test_each_choice_says_what_it_is_and_has_settings_of_its_own(section):
    classes = SECTIONS[section].classes
    assert SECTIONS[section].default in classes
    for name, choice in classes.items():
        assert choice.section == section and choice.name == name and choice.summary
        assert choice.Settings.choice is choice
