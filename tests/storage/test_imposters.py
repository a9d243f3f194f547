import os

import pytest

from embcomp.storage.imposters import head_of, imposter


@pytest.mark.timeout(20)
def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert head_of(tmp_path / "pipe") == b""


def test_what_cannot_be_read_has_no_head(tmp_path):
    assert head_of(tmp_path / "none") == b"" == head_of(tmp_path) == head_of("/dev/null")


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"/annex/objects/MD5-s1", "git annex get"),
        (b"\xef\xbb\xbf <!DOCTYPE html><p>404", "web page"),
        (b"<Error><Code>AccessDenied", "XML"),
        (b'{"error": "gone"}', "JSON"),
        (b"PK\x03\x04...", "ZIP"),
    ],
)
def test_what_a_file_is_instead_is_named(head, word):
    assert word in imposter(head)


@pytest.mark.parametrize("head", [b"", b"RIFF....WAVE", b"id,label\n1,a\n", b"fLaC"])
def test_data_are_no_imposters(head):
    assert not imposter(head)
