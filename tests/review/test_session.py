"""What a session asks for next, after labels, skips, undo, and a new start."""

from __future__ import annotations

import pytest
from helpers.sounds import write_sounds

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.review.label_file import LabelFile
from embcomp.review.session import KEYS, Conflict, Session, check_classes, entries

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")
NAMES = tuple(f"{letter}.wav" for letter in "abcd")


@pytest.fixture
def listed(tmp_path):
    write_sounds(tmp_path, *NAMES)
    rows = [f"{name},,g{number},{'dog|cat' if number else 'cat'},why {number}" for number, name in enumerate(NAMES)]
    (tmp_path / "next.csv").write_text("path,label,group,predicted,why\n" + "\n".join(rows) + "\n")
    return tmp_path / "next.csv"


def started(listed, out="out.csv", several=False, classes=("dog", "cat"), **options) -> Session:
    manifest = Manifest.read(listed)
    return Session(
        entries(manifest, listed), LabelFile.open(listed.parent / out, False, True), classes, several, **options
    )


def test_clips_come_in_the_order_of_the_list_with_what_it_says(listed):
    session = started(listed)
    state = session.state()
    assert (state["total"], state["labelled"], state["undo"]) == (4, 0, None)
    assert state["clip"] == {"number": 0, "name": "a.wav", "group": "g0", "why": "why 0", "predicted": ["cat"]}
    assert state["classes"] == [{"name": "dog", "key": "1"}, {"name": "cat", "key": "2"}]
    for number, name in enumerate(NAMES):
        assert state["clip"]["name"] == name and state["next"] == (number + 1 if number < 3 else None)
        state = session.label(number, ["dog"])
        assert state["labelled"] == number + 1 and state["undo"] == {"said": "dog", "number": number, "name": name}
    assert state["clip"] is None and session.given == 4


def test_a_second_label_for_a_clip_is_refused(listed):
    session = started(listed)
    session.label(0, ["dog"])
    text = (listed.parent / "out.csv").read_text()
    for act in (lambda: session.label(0, ["cat"]), lambda: session.skip(0)):
        with pytest.raises(Conflict, match="has a label already"):
            act()
    assert (listed.parent / "out.csv").read_text() == text


def test_what_is_skipped_comes_again_when_it_is_asked_for(listed):
    session = started(listed)
    session.skip(0)
    assert session.skip(1)["clip"]["number"] == 2
    for number in (2, 3):
        state = session.label(number, ["cat"])
    assert state["clip"] is None and state["skipped"] == 2
    state = session.again()
    assert (state["clip"]["number"], state["skipped"], state["next"]) == (0, 0, 1)
    assert session.label(1, ["dog"])["clip"]["number"] == 0


def test_undo_goes_back_step_by_step_and_shows_that_clip(listed):
    session = started(listed)
    session.label(0, ["dog"])
    session.skip(1)
    session.label(2, ["cat"])
    state = session.undo()
    assert (state["clip"]["number"], state["labelled"]) == (2, 1)
    state = session.undo()
    assert (state["clip"]["number"], state["skipped"]) == (1, 0)
    state = session.undo()
    assert (state["clip"]["number"], state["labelled"], state["undo"]) == (0, 0, None)
    assert (listed.parent / "out.csv").read_text() == "path,label,group\n" and session.given == 0
    with pytest.raises(Conflict, match="nothing to undo"):
        session.undo()


def test_a_new_start_goes_on_and_may_undo_what_was_last(listed):
    session = started(listed)
    for number in (0, 1):
        session.label(number, ["dog"])
    again = started(listed)
    state = again.state()
    assert (state["labelled"], state["clip"]["number"], state["undo"]) == (
        2,
        2,
        {"said": "dog", "number": 1, "name": "b.wav"},
    )
    assert again.undo()["clip"]["number"] == 1
    assert again.label(1, ["cat"])["undo"]["said"] == "cat"
    assert Manifest.read(listed.parent / "out.csv").labels == ["dog", "cat"]
    other = listed.parent / "other.wav"
    write_sounds(listed.parent, "other.wav")
    with open(listed.parent / "out.csv", "a") as file:
        file.write(f"{other.name},mine,\n")
    assert started(listed).state()["undo"] is None  # of a clip that is none of the list's


def test_undo_after_a_new_start_keeps_a_line_that_the_user_wrote(listed):
    rows = listed.read_text().splitlines()
    (listed.parent / "pool.csv").write_text("\n".join(["path,label,group,note", "a.wav,,g0,x", "b.wav,,g1,y"]) + "\n")
    started(listed, "pool.csv").label(1, ["dog"])
    again = started(listed, "pool.csv")
    assert again.undo()["clip"]["number"] == 1
    assert (listed.parent / "pool.csv").read_text().splitlines()[2] == "b.wav,,g1,y"
    assert len(rows) == 5


def test_a_manifest_may_be_its_own_list(listed):
    session = started(listed, listed.name)
    session.label(1, ["dog"])
    assert started(listed, listed.name).state()["labelled"] == 1
    assert Manifest.read(listed).labels == ["", "dog", "", ""]


def test_several_labels_or_none(listed):
    session = started(listed, several=True)
    session.label(0, ["cat", "dog"])
    state = session.label(1, [])
    assert state["undo"]["said"] == "none"
    assert Manifest.read(listed.parent / "out.csv").labels == ["cat|dog", "|"]
    for labels in (["dog", "dog"], ["cow"]):
        with pytest.raises(ConfigError):
            session.label(2, labels)
    with pytest.raises(ConfigError, match="one label for a clip"):
        started(listed, "single.csv").label(2, [])


def test_a_student_predicts_where_the_list_does_not(listed):
    asked = []
    session = started(listed, predict=lambda number: asked.append(number) or ["dog"])
    session.state()
    assert not asked
    listed.write_text("path,label\n" + "".join(f"{name},\n" for name in NAMES))
    session = started(listed, predict=lambda number: asked.append(number) or ["dog"])
    assert session.state()["clip"]["predicted"] == ["dog"]
    session.state()
    assert asked == [0]


def test_keys_are_digits_then_letters_and_none_is_an_action(listed):
    assert KEYS.startswith("123456789ab") and not set(KEYS) & set("sun /") and len(set(KEYS)) == len(KEYS)
    state = started(listed, classes=[f"class {number}" for number in range(40)]).state()
    assert [one["key"] for one in state["classes"][:10]] == [*"123456789", "a"] and state["classes"][39]["key"] == ""


@pytest.mark.parametrize("names", [[], ["a", ""], ["a|b"], ["?a"], ["a", "a "], ["a\nb"]])
def test_labels_that_label_cells_cannot_hold_are_refused(names):
    with pytest.raises(ConfigError):
        check_classes(names)
