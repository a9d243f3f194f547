"""Knowledge-CLIP: terms, who moves whom, training, zero-shot use, retrieval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.settings import student_settings
from helpers.tones import write_tones
from helpers.transfer_cases import FAST, examples, moved_by, names

import embcomp
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, DataError
from embcomp.knowledge_clip import (
    Captions,
    KnowledgeClip,
    KnowledgeClipConfig,
    Objective,
    caption_vectors,
    concept_accuracy,
    default_prompts,
    retrieval,
    train,
)
from embcomp.losses import contrastive_loss
from embcomp.students.classifier import Classifier

AUDIO = AudioConfig(seconds=0.4, n_mels=24)
STUDENT = student_settings(width=16, embedding=16, dropout=0.0)
PROMPTS = {
    "c0": ["a low rumble", "thunder and rumble"],
    "c1": ["a human voice", "somebody speaks"],
    "c2": ["a high whistle", "birds whistle"],
}
CONFIG = KnowledgeClipConfig(concepts=3)


def of(data, prompts=PROMPTS):
    captions = Captions.from_labels(data.labels, prompts)
    return captions, caption_vectors("lsa", captions.texts)


def short(data=None, steps=60, config=CONFIG, seed=0, **options):
    data = data or examples()
    training = replace(FAST, steps=steps, evaluate_every=20)
    return train(data, *of(data), audio=AUDIO, student=STUDENT, config=config, training=training, seed=seed, **options)


@pytest.fixture(scope="module")
def trained():
    return short(steps=100)


def one_batch(config=CONFIG):
    """Both encoders, the objective and its terms on every clip with its first caption."""
    data = examples()
    captions, vectors = of(data)
    model = KnowledgeClip.new(AUDIO, STUDENT, seed=0)
    torch.manual_seed(0)
    objective = Objective(config, vectors, 16)
    audio = model.audio_encoder(data.features, data.lengths).embedding
    drawn = torch.from_numpy(captions.matches.argmax(1))
    text = model.text_encoder([captions.texts[number] for number in drawn])
    matches = torch.from_numpy(captions.matches)
    return model, objective, objective(audio, text, drawn, matches), (audio, text, drawn, matches, vectors)


def test_the_terms_are_the_papers_with_its_weights():
    _, objective, terms, (audio, text, drawn, matches, vectors) = one_batch()
    squared = (text @ objective.lift.weight.T - torch.from_numpy(vectors)[drawn]).square().sum(1)
    logits = objective.classifier(audio).log_softmax(1)
    cosines = torch.nn.functional.normalize(audio) @ torch.nn.functional.normalize(text).T
    assert list(terms) == ["embedding", "concept", "contrast"]
    torch.testing.assert_close(terms["embedding"], squared.mean())
    torch.testing.assert_close(terms["concept"], -0.01 * (objective.shares[drawn] * logits).sum(1).mean())
    torch.testing.assert_close(terms["contrast"], contrastive_loss(cosines / 0.07, matches[:, drawn].float()))
    summed = one_batch(replace(CONFIG, reduction="sum"))[2]
    torch.testing.assert_close(summed["embedding"], squared.sum())


def test_with_one_clip_per_caption_the_contrast_is_clips():
    objective = Objective(CONFIG, np.random.default_rng(0).normal(size=(8, 5)), 16)
    audio, text = torch.randn(8, 16), torch.randn(8, 16)
    found = objective(audio, text, torch.arange(8), torch.eye(8, dtype=torch.bool))["contrast"]
    logits = torch.nn.functional.normalize(audio) @ torch.nn.functional.normalize(text).T / 0.07
    both = [torch.nn.functional.cross_entropy(side, torch.arange(8)) for side in (logits, logits.T)]
    torch.testing.assert_close(found, sum(both) / 2)


@pytest.mark.parametrize(
    "term, audio, text, own",
    [
        ("embedding", False, True, {"lift.weight"}),
        ("concept", True, False, set()),
        ("contrast", True, True, {"sharpness"}),
    ],
)
def test_each_term_moves_what_it_should_and_nothing_else(term, audio, text, own):
    model, objective, terms, _ = one_batch()
    assert moved_by(terms[term], model.audio_encoder) == (names(model.audio_encoder) if audio else set())
    assert moved_by(terms[term], model.text_encoder) == (names(model.text_encoder) if text else set())
    assert moved_by(terms[term], objective) == own


def test_training_moves_all_parameters_and_leaves_teacher_and_classifier():
    data = examples()
    _, vectors = of(data)
    before, after = KnowledgeClip.new(AUDIO, STUDENT, 3), short(data, steps=8, seed=3)
    fresh = Objective(CONFIG, vectors, 16, seed=3)
    for part in ("audio_encoder", "text_encoder"):
        old = dict(getattr(before, part).named_parameters())
        assert not [
            name for name, value in getattr(after.model, part).named_parameters() if torch.equal(value, old[name])
        ]
    assert not names(fresh.classifier)
    for name, value in fresh.named_buffers():
        assert torch.equal(value, after.objective.state_dict()[name]), name
    assert after.model.temperature != pytest.approx(0.07, abs=1e-7)


@pytest.mark.parametrize("weight, term", [("alpha", "embedding"), ("beta", "concept"), ("gamma", "contrast")])
def test_a_weight_of_zero_leaves_its_term_out(weight, term):
    assert set(one_batch(replace(CONFIG, **{weight: 0.0}))[2]) == {"embedding", "concept", "contrast"} - {term}


def test_the_terms_fall_and_the_seed_decides_everything(trained):
    first, again, other = short(steps=4), short(steps=4), short(steps=4, seed=1)
    assert first.history == again.history != other.history
    assert [row["step"] for row in trained.history] == [20, 40, 60, 80, 100]
    for term in ("embedding", "contrast"):
        assert trained.history[-1][term] < 0.8 * trained.history[0][term]


def test_clips_never_heard_are_found_by_texts_and_the_other_way_round(trained):
    held = examples(seed=1)
    captions, _ = of(held)
    assert captions.texts == of(examples())[0].texts
    chances = trained.model.predict(held.features, held.lengths, PROMPTS)
    torch.testing.assert_close(chances.sum(1), torch.ones(48))
    assert (chances.argmax(1).numpy() == held.labels.index).mean() > 0.7  # by chance 0.33
    audio = trained.model.embed_audio(held.features, held.lengths)
    found = retrieval(audio, trained.model.embed_text(captions.texts), captions.matches, (1, 6))
    assert found["audio_to_text_recall@1"] > 0.7 and found["text_to_audio_recall@1"] > 0.7
    assert found["audio_to_text_recall@6"] == 1


def test_other_words_for_the_same_find_it_too(trained):
    held = examples(seed=1)
    chances = trained.model.predict(
        held.features, held.lengths, {"c0": ["rumbling"], "c1": ["voices"], "c2": ["whistles"]}
    )
    assert (chances.argmax(1).numpy() == held.labels.index).mean() > 0.6


@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_concepts_alone_teach_the_audio_encoder_through_the_frozen_classifier(labels):
    config = KnowledgeClipConfig(alpha=0, beta=1, gamma=0, concepts=3, concept_labels=labels)
    trained, held = short(config=config, steps=100), examples(seed=1)
    captions, _ = of(held)
    audio = trained.model.embed_audio(held.features, held.lengths)
    # Chance: the share of captions of the commonest concept.
    share = np.bincount(trained.objective.concept.numpy()).max() / 6
    assert concept_accuracy(trained.objective, audio, captions.matches) > max(0.8, share)
    assert set(trained.history[-1]) == {"step", "concept", "temperature"}


def test_the_order_of_clips_and_padding_do_not_matter(trained):
    held = examples(seed=1)
    expected = trained.model.embed_audio(held.features, held.lengths)
    padded = torch.nn.functional.pad(held.features, (0, 9), value=3.0)
    torch.testing.assert_close(trained.model.embed_audio(padded, held.lengths), expected, atol=1e-4, rtol=1e-4)
    turned = trained.model.embed_audio(held.features.flip(0), held.lengths.flip(0))
    torch.testing.assert_close(turned, expected.flip(0), atol=1e-5, rtol=1e-4)


def test_round_trip(trained, tmp_path):
    trained.model.seen = frozenset({"a", "b"})
    trained.model.save(tmp_path / "model", {"history.json": trained.history})
    again, held = KnowledgeClip.load(tmp_path / "model"), examples(seed=1)
    expected = trained.model.predict(held.features, held.lengths, PROMPTS)
    assert torch.equal(again.predict(held.features, held.lengths, PROMPTS), expected)
    assert (again.seen, again.about, again.student) == (trained.model.seen, trained.model.about, STUDENT)
    with pytest.raises(ArtifactError, match="holds a knowledge clip, not a student"):
        Classifier.load(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    whole = config.read_text(encoding="utf-8")
    for old, new in (
        ('"width": 16', '"width": 24'),
        ('"temperature"', '"temprature"'),
        ('"n_mels": 24', '"n_mels": "x"'),
    ):
        assert old in whole
        config.write_text(whole.replace(old, new), encoding="utf-8")
        with pytest.raises(ArtifactError, match="damaged"):
            KnowledgeClip.load(tmp_path / "model")


def test_by_prompts_it_is_a_classifier_of_files_and_manifests(tmp_path):
    path = write_tones(tmp_path / "tones", groups=2, clips=1)
    model = KnowledgeClip.new(AUDIO, STUDENT, seed=0)
    student = model.classifier(default_prompts(["high", "low"]))
    heard = embcomp.predict(student, [tmp_path / "tones" / "audio"])
    assert heard.classes == ("high", "low") and len(heard.table) == 4
    scores = embcomp.evaluate(student, Manifest.read(path), cache=tmp_path / "cache")
    order = [str(tmp_path / "tones" / name) for name in scores.predictions.ids]
    expected = heard.table.set_index("path").loc[order, ["p:high", "p:low"]]
    np.testing.assert_allclose(scores.predictions.probabilities, expected, atol=1e-4)
    with pytest.raises(ArtifactError, match="save the KnowledgeClip and its prompts"):
        student.save(tmp_path / "student")


def test_recall_counts_partners_among_the_nearest():
    audio, text = torch.eye(3), torch.tensor([[1.0, 0.1, 0], [0.9, 1, 0], [0, 0.2, 1]])
    found = retrieval(audio, text, np.eye(3, dtype=bool), (1, 2))
    assert set(found.values()) == {1.0}
    turned = retrieval(audio, text[[1, 2, 0]], np.eye(3, dtype=bool), (1, 2, 3))
    assert turned["audio_to_text_recall@1"] == 0 and turned["audio_to_text_recall@3"] == 1
    alike = retrieval(torch.ones(3, 2), torch.ones(3, 2), np.eye(3, dtype=bool), (1, 2, 3))
    assert [alike[f"text_to_audio_recall@{k}"] for k in (1, 2, 3)] == [0, 0, 1]


def test_recall_agrees_with_sorting():
    rng = np.random.default_rng(0)
    audio, text = rng.normal(size=(20, 6)), rng.normal(size=(9, 6))
    matches = rng.random((20, 9)) < 0.2
    matches[:, 3] = False
    found = retrieval(torch.from_numpy(audio), torch.from_numpy(text), matches, (2,))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (audio, text)]
    for name, scores, partners in (
        ("audio_to_text", unit[0] @ unit[1].T, matches),
        ("text_to_audio", unit[1] @ unit[0].T, matches.T),
    ):
        asked = partners.any(1)
        nearest = np.argsort(-scores, axis=1)[:, :2]
        hits = np.take_along_axis(partners, nearest, axis=1).any(1)[asked]
        assert found[f"{name}_recall@2"] == pytest.approx(hits.mean())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"alpha": -1.0}, "alpha must be at least 0"),
        ({"alpha": 0.0, "beta": 0.0, "gamma": 0.0}, "nothing to learn"),
        ({"temperature": 0.0}, "temperature must be at least 0.01"),
        ({"concepts": 7}, "concepts is 7; 6 vectors have between 2 and 6 concepts"),
        ({"concept_labels": "sotf"}, "did you mean 'soft'"),
        ({"reduction": "men"}, "did you mean 'mean'"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        short(steps=1, config=replace(CONFIG, **change))


def test_misuse_is_told(trained):
    data = examples()
    captions, vectors = of(data)
    with pytest.raises(DataError, match="6 different captions with 5 vectors, do not fit together"):
        train(data, captions, vectors[:5], audio=AUDIO)
    with pytest.raises(ConfigError, match="training.amp has no part"):
        train(data, captions, vectors, audio=AUDIO, training=replace(FAST, amp=True))
    with pytest.raises(ConfigError, match="training.views has no part"):
        train(data, captions, vectors, audio=AUDIO, training=replace(FAST, views=1))
    with pytest.raises(DataError, match="class 'dog' needs a list of one prompt or more, not 'a dog'"):
        trained.model.class_vectors({"dog": "a dog"})
    with pytest.raises(DataError, match="must be of 2 clips and 3 texts"):
        retrieval(torch.zeros(2, 4), torch.zeros(3, 4), np.eye(2, dtype=bool))
