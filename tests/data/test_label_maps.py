"""Label maps that come with embcomp: whole vocabularies, and pairs that lead there and back."""

from __future__ import annotations

import pytest

from embcomp.data.labels import MAPS, find_label_map, map_labels, read_label_map
from embcomp.data.makers import emodb, ravdess, speech_commands

URBAN = (
    *("air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling"),
    *("engine_idling", "gun_shot", "jackhammer", "siren", "street_music"),
)
DIGITS = tuple(map(str, range(10)))
PAIRS = (("esc50", "urbansound8k", 4), ("ravdess", "emodb", 6), ("words", "digits", 10))


def read(name):
    return read_label_map(find_label_map(name))


@pytest.mark.parametrize("path", sorted(MAPS.glob("*.csv")), ids=lambda path: path.stem)
def test_what_a_map_leads_to_stays_as_it_is(path):
    mapping = read(path.stem)
    assert all(mapping.get(new, new) == new for new in mapping.values() if new)
    source, target = path.stem.split("-")
    assert (MAPS / f"{target}-{source}.csv").is_file()


@pytest.mark.parametrize("one, other, shared", PAIRS)
def test_a_pair_leads_there_and_back_over_both_vocabularies(one, other, shared):
    there, back = read(f"{one}-{other}"), read(f"{other}-{one}")
    assert set(there) == set(back)
    kept = {new for new in there.values() if new}
    assert len(kept) == shared == len({new for new in back.values() if new})
    assert all(there[back[new]] == new for new in kept)


def test_maps_hold_the_published_vocabularies():
    urban = read("esc50-urbansound8k")
    assert set(URBAN) <= set(urban) and len(set(urban) - set(URBAN)) == 50 - 2  # siren and car_horn are in both
    assert {*ravdess.EMOTIONS, *emodb.EMOTIONS.values()} == set(read("ravdess-emodb"))
    words = set(read("words-digits")) - set(DIGITS)
    assert len(words) == 35 + 2 and {*speech_commands.COMMANDS, "_unknown_", "_silence_"} <= words


@pytest.mark.parametrize("name", ["ravdess-emodb", "emodb-ravdess"])
def test_both_sets_come_to_the_classes_they_share(name):
    mapping = read(name)
    one, other = ({mapping[label] for label in labels} - {""} for labels in (ravdess.EMOTIONS, emodb.EMOTIONS.values()))
    assert one == other and len(one) == 6


def test_labels_of_one_set_become_those_of_the_other():
    mapped = map_labels(["dog", "engine", "chainsaw", "siren", "fireworks"], URBAN, read("esc50-urbansound8k"))
    assert [URBAN[number] for number in mapped.labels.index] == ["dog_bark", "engine_idling", "siren"]
    assert mapped.left_out == {"chainsaw": 1, "fireworks": 1} and "jackhammer" in mapped.not_tested
    mapped = map_labels(["zero", "nine", "marvin"], DIGITS, read("words-digits"))
    assert list(mapped.labels.index) == [0, 9] and mapped.left_out == {"marvin": 1}
