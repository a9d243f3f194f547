"""Run configurations: every key checked, every mistake named, every setting written back."""

from __future__ import annotations

import dataclasses
import tomllib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embcomp.config import RunConfig, load, parse, parse_overrides, to_dict, to_toml
from embcomp.config.choices import SECTIONS, keys_of
from embcomp.config.limits import choices_of
from embcomp.config.sections import OVERRIDABLE, VariantConfig
from embcomp.errors import ConfigError, EmbcompError


def read(tmp_path, text, *overrides):
    path = tmp_path / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, overrides)


def other_value(value):
    """A value of the same type that is in range and not the default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.9 + 0.03
    if isinstance(value, tuple):
        return [*value, 77] if value and isinstance(value[0], int) else [*value, 'a "quoted" \\ path\n\x01\x7fü']
    return value + ' "ü" \\ \t'


@dataclasses.dataclass(frozen=True)
class Key:
    """A setting: its default, its limits, and what has to be chosen for it to be one."""

    name: str
    default: object
    limits: dict
    chosen: dict

    def nested(self, value):
        section, _, name = self.name.rpartition(".")
        return {section: {**self.chosen, name: value}} if section else {name: value}

    def found(self, config):
        section, _, name = self.name.rpartition(".")
        holder = config.variants[0] if section in OVERRIDABLE else config
        return getattr(getattr(holder, section) if section else holder, name)

    def __str__(self):
        return "/".join([*self.chosen.values(), self.name])


def every_key():
    for holder in (RunConfig(), VariantConfig()):
        for item in dataclasses.fields(holder):
            value = getattr(holder, item.name)
            if item.name in SECTIONS or item.name == "variants" or (holder is not RunConfig and item.name == "name"):
                continue
            if dataclasses.is_dataclass(value):
                for inner in dataclasses.fields(value):
                    yield Key(f"{item.name}.{inner.name}", getattr(value, inner.name), inner.metadata, {})
            else:
                yield Key(item.name, value, item.metadata, {})
    for section, about in SECTIONS.items():
        for name, choice in about.classes.items():
            text = f"{name}:x:y" if choice.Settings().conflict() else name
            for item in keys_of(choice).values():
                yield Key(f"{section}.{item.name}", item.default, item.metadata, {about.key: text})


KEYS = list(every_key())


def nested(key, value):
    *sections, name = key.split(".")
    return {sections[0]: {name: value}} if sections else {name: value}


def needed_with(key):
    """Other settings without which a key has no meaning."""
    if key.name == "transfer.frames":
        return {"training": {"roll": 0.0}}
    if key.name == "training.transductive":
        return {"data": {"cross": ["other.csv"]}}
    if key.name == "split.validate":
        return {"split": {"by": "column"}}
    inputs = {"mlp": "table", "cnn": "images"}.get(key.chosen.get("kind"), "table" if key.name in OF_TABLES else "")
    if not inputs:
        return {}
    return {"data": {"inputs": inputs, "input_file": "x.npz"}, "transfer": {"method": "none"}}


OF_TABLES = ("data.input_file", "data.columns")


def joined(one, other):
    return {
        name: {**one.get(name, {}), **other[name]} if name in other and name in one else (one | other)[name]
        for name in one | other
    }


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_every_setting_can_be_set_and_comes_back_from_toml(key):
    choices = choices_of(key.limits.get("choices") or ())
    wanted = choices[-1] if choices else [0.5, 2.0] if key.name.endswith("_weights") else other_value(key.default)
    if choices and isinstance(key.default, tuple):
        wanted = [wanted]
    if wanted == key.default:
        wanted = choices[0]
    config = parse(joined(needed_with(key), key.nested(wanted)))
    assert key.found(config) == (tuple(wanted) if isinstance(wanted, list) else wanted) != key.default
    assert parse(tomllib.loads(to_toml(config))) == config


def test_variants_come_back_from_toml():
    content = {
        "student": {"width": 32},
        "training": {"learning_rate": 1e-22},
        "variants": [
            {"name": 'a "b"', "student": {"width": 64}, "compressor": {"method": "mlp"}},
            {"name": "c", "training": {"learning_rate": 3.0}, "transfer": {"stop_gradient": False}},
            {"name": "d"},
        ],
    }
    config = parse(content)
    assert parse(tomllib.loads(to_toml(config))) == config
    assert [variant.student.width for variant in config.variants] == [64, 32, 32]


def test_the_defaults_pass_their_own_checks():
    assert parse({}) == RunConfig()
    assert [variant.name for variant in parse({}).variants] == ["compressed"]


def test_without_variants_the_run_is_named_after_its_method():
    assert [variant.name for variant in parse({"transfer": {"method": "none"}}).variants] == ["none"]


def test_a_config_as_dict_parses_to_itself():
    config = parse({"seeds": [4], "variants": [{"name": "x", "student": {"width": 16}}]})
    assert parse(to_dict(config)) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"studnet": {}}, "unknown key 'studnet': did you mean 'student'"),
        ({"student": {"widht": 3}}, r"unknown key 'student\.widht': did you mean 'width'"),
        ({"variants": [{"name": "a", "transfer": {"wieght": 0}}]}, r"'variants\[0\]\.transfer\.wieght': did you mean 'weight'"),
        ({"variants": [{"name": "a"}, {"data": {}}]}, r"unknown key 'variants\[1\]\.data'"),
        ({"training": {"step": 3}}, "did you mean 'steps'"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_and_the_nearest_named(content, message):
    with pytest.raises(ConfigError, match=message):
        parse(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"threads": "2"}, "threads must be a whole number, not '2'"),
        ({"threads": 2.0}, "threads must be a whole number, not 2.0"),
        ({"threads": True}, "threads must be a whole number, not True"),
        ({"audio": {"seconds": "2"}}, "audio.seconds must be a number, not '2'"),
        ({"audio": {"seconds": True}}, "audio.seconds must be a number, not True"),
        ({"data": {"skip_bad": 1}}, "data.skip_bad must be true or false, not 1"),
        ({"data": {"train": 1}}, "data.train must be a string, not 1"),
        ({"data": {"cross": "b.csv"}}, "data.cross must be a list, not 'b.csv'"),
        ({"data": {"cross": [1]}}, "data.cross must be a string, not 1"),
        ({"seeds": 3}, "seeds must be a list, not 3"),
        ({"seeds": [0.0]}, "seeds must be a whole number"),
        ({"audio": 3}, "audio must be a table, not 3"),
        ({"audio": [{"seconds": 1.0}]}, "audio must be a table"),
        ({"variants": {"name": "a"}}, "variants must be a list of tables"),
        ({"variants": []}, "variants must be a list of tables"),
        ({"variants": ["a"]}, "variants must be a list of tables"),
        ({"variants": [{"name": "a", "student": 3}]}, r"variants\[0\]\.student must be a table, not 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(content, message):
    with pytest.raises(ConfigError, match=f"here: {message}"):
        parse(content, "here")


NUMBERS = [key for key in KEYS if isinstance(key.default, float)]


@pytest.mark.parametrize("key", [key for key in NUMBERS if key.limits["at_least"] <= 0], ids=str)
def test_a_whole_number_does_for_a_number(key):
    value = key.found(parse(joined(needed_with(key), key.nested(0))))
    assert (value, type(value)) == (0.0, float)


def test_every_number_has_a_lower_limit():
    assert [str(key) for key in KEYS if type(key.default) in (int, float) and key.limits["at_least"] is None] == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**400])
@pytest.mark.parametrize("key", NUMBERS, ids=str)
def test_a_number_must_be_finite(key, value):
    with pytest.raises(ConfigError, match=f"{key.name} must be finite"):
        parse(joined(needed_with(key), key.nested(value)))


BOUNDS = [
    (key, bound, bound + step)
    for key in KEYS
    for bound, step in ((key.limits.get("at_least"), -1), (key.limits.get("at_most"), 1))
    if bound is not None
]


@pytest.mark.parametrize(("key", "bound", "beyond"), BOUNDS, ids=str)
def test_each_range_holds_its_bound_and_nothing_beyond(key, bound, beyond):
    kind = type(key.default)
    parse(joined(needed_with(key), key.nested(kind(bound))))
    with pytest.raises(ConfigError, match=rf"{key.name} must be at (least|most) .*, not"):
        parse(key.nested(kind(beyond)))
    if key.name.split(".")[0] in OVERRIDABLE:
        with pytest.raises(ConfigError, match=rf"variants\[0\]\.{key.name} must be at"):
            parse({"variants": [{"name": "a", **key.nested(kind(beyond))}]})


@pytest.mark.parametrize("key", [key for key in KEYS if key.limits.get("choices")], ids=str)
def test_a_choice_names_the_nearest(key):
    first = choices_of(key.limits["choices"])[0]
    wrong = [first + "x"] if isinstance(key.default, tuple) else first + "x"
    with pytest.raises(ConfigError, match=f"did you mean '{first}'"):
        parse(key.nested(wrong))


@pytest.mark.parametrize(
    ("seeds", "message"),
    [([], "different whole numbers"), ([1, 1], "different whole numbers"), ([-1], r"lie in 0\.\."), ([2**31], r"lie in 0\.\.")],
)  # fmt: skip
def test_seeds_that_no_generator_takes_are_refused(seeds, message):
    with pytest.raises(ConfigError, match=f"seeds must {message}|seeds must be a list of {message}"):
        parse({"seeds": seeds})


def test_two_variants_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="two variants are called 'a'"):
        parse({"variants": [{"name": "a"}, {"name": "b"}, {"name": "a"}]})


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("threads=4", "threads", 4),
        ("seeds=[5, 6]", "seeds", (5, 6)),
        ("audio.seconds=1", "audio.seconds", 1.0),
        ("data.skip_bad=true", "data.skip_bad", True),
        ("teacher.spec=store:a=b", "teacher.spec", "store:a=b"),
        ('teacher.spec="kmeans"', "teacher.spec", "kmeans"),
        (" student . width = 16", "student.width", 16),
        ("name=", "name", ""),
        ("student={width=16}", "student.width", 16),
    ],
)
def test_an_override_is_toml_or_a_bare_string(override, key, value):
    assert Key(key, None, {}, {}).found(parse_overrides([override])) == value


@pytest.mark.parametrize("override", ["student.width=16", "student={width=16}"])
def test_an_override_reaches_the_variants_that_set_the_same_key(tmp_path, override):
    text = (
        '[student]\nwidth = 24\nnorm = "band"\n[[variants]]\nname = "a"\nstudent.width = 32\n[[variants]]\nname = "b"\n'
    )
    config = read(tmp_path, text, override)
    assert [variant.student.width for variant in config.variants] == [16, 16]
    assert [variant.student.norm for variant in config.variants] == ["band", "band"]


def test_an_override_leaves_what_a_variant_sets_otherwise(tmp_path):
    text = '[[variants]]\nname = "a"\ntransfer.method = "none"\n[[variants]]\nname = "b"\n'
    config = read(tmp_path, text, "student.width=16", "transfer.weight=0.25")
    assert [variant.transfer.method for variant in config.variants] == ["none", "compressed"]
    assert {variant.student.width for variant in config.variants} == {16}


def test_of_two_overrides_the_last_holds():
    assert parse_overrides(["threads=2", "threads=3"]).threads == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("threads", r"--set takes section\.key=value, not 'threads'"),
        ("=3", "--set takes"),
        ("student.=3", "--set takes"),
        ("threads.x=3", "'threads' is not a section|unknown key|must be a whole number"),
        ("variants.name=3", "variants are set in the file"),
        ("student.widht=3", "did you mean 'width'"),
        ("student.width=wide", "student.width must be a whole number, not 'wide'"),
        ("threads=" + "9" * 5000, "threads must be a whole number"),
        ("student.width=" + "[" * 5000, "student.width must be a whole number"),
    ],
)
def test_a_wrong_override_is_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        parse_overrides(["threads=2", override])


def test_the_root_in_a_file_starts_at_the_file(tmp_path):
    assert read(tmp_path, "").data.root == str(tmp_path)
    assert read(tmp_path, '[data]\nroot = "clips"').data.root == str(tmp_path / "clips")
    assert read(tmp_path, '[data]\nroot = "/clips"').data.root == "/clips"


@pytest.mark.parametrize("override", ["data.root=clips", 'data={root="clips"}'])
def test_the_root_of_an_override_starts_where_the_user_stands(tmp_path, override):
    assert read(tmp_path, '[data]\nroot = "x"', override).data.root == "clips"


@pytest.mark.parametrize("text", ['\ufeffname = "ü"\n', 'name = "ü"\r\n[data]\r\ntrain = "a.csv"\r\n'])
def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path, text):
    assert read(tmp_path, text).name == "ü"


@pytest.mark.parametrize(
    "text",
    [b"name = ", b"name = 'x'\nname = 'y'", "name = 'é'".encode("latin-1"), "name='x'".encode("utf-16"), b"\0",
     b"threads = " + b"9" * 5000, b"name = " + b"[" * 5000],
)  # fmt: skip
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path, text):
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML"):
        read(tmp_path, text)


@pytest.mark.parametrize(("name", "reason"), [("none.toml", "No such file"), (".", "directory"), ("a\0b", "null")])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, name, reason):
    with pytest.raises(ConfigError, match=reason):
        load(tmp_path / name)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*(key.name for key in KEYS), "variants", "audio", "student.x"]), VALUES)
def test_any_value_for_any_key_parses_or_is_a_config_error(key, value):
    try:
        config = parse(nested(key, value))
    except ConfigError as error:
        assert key.split(".")[0] in str(error)
    else:
        assert parse(tomllib.loads(to_toml(config))) == config


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text(alphabet="[]{}=.\"'\n #_ab19-:datvrins", max_size=60).map(str.encode))
@example(b"variants = [[]]")
@example(b"data = 1\n")
@example(b"[[data]]\n")
def test_any_bytes_load_or_are_an_embcomp_error(tmp_path, content):
    try:
        assert isinstance(read(tmp_path, content, "data.train=x", "student.width=8"), RunConfig)
    except EmbcompError as error:
        assert isinstance(error, ConfigError)


def test_validation_clips_are_named_by_the_split_column_and_not_tested():
    with pytest.raises(ConfigError, match=r'split.validate names values of the split column; set split.by = "column"'):
        parse({"split": {"validate": ["val"]}})
    with pytest.raises(ConfigError, match=r"split.validate and split.test both name \['a'\]"):
        parse({"split": {"by": "column", "test": ["a", "b"], "validate": ["a"]}})
    assert parse({"split": {"by": "column", "test": ["a"], "validate": ["b"]}}).split.validate == ("b",)
