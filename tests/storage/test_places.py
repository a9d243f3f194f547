"""URLs and their places in the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from embcomp.errors import ConfigError
from embcomp.storage.places import absolute, cache_folder, is_url, join, named, path_of, relative, shown, url_of

URLS = [
    "s3://bucket/set/clips.csv",
    "gs://bucket/a b/#1.wav",
    "hf://datasets/owner/name@main/a.wav",
    "file:///data/a.wav",
    "memory://set/a.wav",
    "https://example.org/a.wav",
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("url", URLS)
def test_a_url_and_its_place_lead_to_each_other(url):
    place = path_of(url)
    assert place.is_absolute() and place.is_relative_to(cache_folder())
    assert url_of(place) == named(place) == absolute(url) == url
    assert path_of(Path(url)) == path_of(place) == place  # as a Path, which has one slash
    assert url_of(place / "b.wav") == f"{url}/b.wav"


@pytest.mark.parametrize(
    "given", ["a.csv", "/data/a.csv", "C:/data", "x:y", "store:a/b", "a//b", "./s3:", "", "s3:bucket"]
)
def test_what_is_no_url_is_a_path_as_it_is(given):
    assert not is_url(given) and path_of(given) == Path(given) and url_of(Path(given)) == ""


def test_names_are_joined_to_urls():
    assert join("s3://b/set", "audio/a.wav") == path_of("s3://b/set/audio/a.wav")
    assert join("s3://b/set", "/data/a.wav") == Path("/data/a.wav")
    assert join("data", "s3://b/a.wav") == path_of("s3://b/a.wav")
    assert join("data", "a.wav") == Path("data/a.wav")


def test_files_are_named_from_a_table(tmp_path):
    far = path_of("s3://b/set/a.wav")
    assert relative(far, tmp_path) == relative(far, far.parent) == "s3://b/set/a.wav"
    assert relative(tmp_path / "x/a.wav", tmp_path / "y") == "../x/a.wav"
    assert join("s3://b/set", "../other/a.wav") == path_of("s3://b/other/a.wav")


@pytest.mark.parametrize(
    "url, says",
    [
        ("s3a://bucket/x", "unknown scheme 's3a'.*did you mean 's3'.*pip install -e '.\\[remote\\]'"),
        ("s3://me:hunter22@bucket/x", "URL of bucket holds a user or a password"),
        ("https://me@example.org/x", "holds a user or a password"),
        ("https://example.org/x?X-Amz-Signature=hunter22", "has a query, which may hold a signature"),
        ("s3://bucket/../other/x", "an empty name, . or .. in it"),
        ("s3://bucket//x", "an empty name"),
        ("s3://", "an empty name"),
    ],
)
def test_urls_that_are_not_taken_are_named_without_their_secrets(url, says):
    with pytest.raises(ConfigError, match=says) as caught:
        path_of(url)
    assert "hunter22" not in str(caught.value)


def test_messages_name_urls_and_not_the_cache():
    text = f"no manifest at {path_of('s3://b/a.csv')}, nor at {path_of('file:///x/a.csv')}: /data/b.csv"
    assert shown(text) == "no manifest at s3://b/a.csv, nor at file:///x/a.csv: /data/b.csv"


def test_local_paths_import_nothing_of_remote_ones():
    code = (
        "import sys; from embcomp.data.manifest import Manifest; from embcomp.storage.bringing import here, brought\n"
        "here('a'), brought('b'); print([name for name in ('fsspec', 's3fs', 'filelock') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
