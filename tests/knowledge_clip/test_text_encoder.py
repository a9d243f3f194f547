"""The small text encoder: tokens, invariances, gradients, round trip, misuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from embcomp.errors import ArtifactError, DataError
from embcomp.knowledge_clip.text_encoder import TextEncoder, tokens


def encoder(seed=0, **sizes) -> TextEncoder:
    torch.manual_seed(seed)
    return TextEncoder(**{"width": 8, "channels": 16, "hidden": 16, "buckets": 512, **sizes})


def test_tokens_are_words_pairs_and_grams():
    found = tokens("A dog barks")
    assert {"<a>", "<dog>", "<barks>", "a dog", "dog barks", "<do", "og>", "<bar", "barks", "arks>"} <= set(found)
    # Three to five characters of each marked word that are not all of it.
    assert len(found) == 3 + 2 + 0 + (3 + 2) + (5 + 4 + 3)


@pytest.mark.parametrize(
    "same", ["a dog, barking!", "A DOG BARKING", "a_dog_barking", "  a  dog\tbarking\n", "a ｄog barking"]
)
def test_case_punctuation_and_spaces_do_not_matter(same):
    assert tokens(same) == tokens("a dog barking")


def test_what_is_said_and_the_order_of_neighbours_do():
    model = encoder()
    one, other, turned = model(["the dog bites a man", "the cat bites a man", "a man bites the dog"])
    assert not torch.allclose(one, other) and not torch.allclose(one, turned)


def test_each_text_is_embedded_on_its_own():
    model, texts = encoder(), ["rain", "sea waves on a beach", "über den Wolken", "8"]
    together = model(texts)
    for row, text in enumerate(texts):
        torch.testing.assert_close(model([text])[0], together[row])
    torch.testing.assert_close(model(texts[::-1]), together.flip(0))
    assert model([]).shape == (0, 8)


def test_a_word_never_met_is_nearer_to_its_relatives():
    model = encoder(channels=64, buckets=1 << 16)
    bags = [model.table(torch.tensor([model.rows(word)])) for word in ("barking", "barks", "helicopter")]
    near, far = (torch.cosine_similarity(bags[0], other).item() for other in bags[1:])
    assert near > 0.3 > far


def test_rows_do_not_depend_on_the_process():
    code = "from embcomp.knowledge_clip.text_encoder import TextEncoder; print(TextEncoder().rows('a dog barks'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == str(TextEncoder().rows("a dog barks")), done.stderr


def test_only_the_rows_of_the_texts_get_a_gradient():
    model = encoder()
    model(["rain"]).sum().backward()
    moved = model.table.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert moved == sorted(set(model.rows("rain")))
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.project.parameters())


def test_it_can_learn_to_tell_texts_apart():
    model, texts = encoder(), ["a dog barking", "a dog howling", "rain", "heavy rain"]
    target = torch.tensor([0, 0, 1, 1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(texts), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert model(["the howling of dogs", "rainy"]).argmax(1).tolist() == [0, 1]


def test_round_trip(tmp_path):
    model = encoder()
    model.save(tmp_path / "text")
    again = TextEncoder.load(tmp_path / "text")
    assert again.sizes == model.sizes and not again.training
    torch.testing.assert_close(again(["sea waves"]), model(["sea waves"]), atol=0, rtol=0)


def test_misuse_is_told(tmp_path):
    with pytest.raises(DataError, match="the text '\\?!' holds no word"):
        encoder()(["rain", "?!"])
    with pytest.raises(DataError, match="a list of texts is needed, not the single text 'rain'"):
        encoder()("rain")
    with pytest.raises(ArtifactError, match="no text encoder at"):
        TextEncoder.load(tmp_path / "nothing")
    encoder().save(tmp_path / "text")
    config = tmp_path / "text" / "config.json"
    whole = config.read_text(encoding="utf-8")
    config.write_text(whole.replace('"width": 8', '"width": 9'), encoding="utf-8")
    with pytest.raises(ArtifactError, match="its config says"):
        TextEncoder.load(tmp_path / "text")
    for damage in ('"width": -8', '"wdith": 8', '"width": "x"'):
        config.write_text(whole.replace('"width": 8', damage), encoding="utf-8")
        with pytest.raises(ArtifactError, match="damaged"):
            TextEncoder.load(tmp_path / "text")
