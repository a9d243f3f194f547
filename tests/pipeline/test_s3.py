"""A run whose data and results are on S3, by a server that the test starts; killed, gone on with by another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.killing import contents as contents_here
from helpers.remotes import upload
from helpers.runs import TONES_RUN
from helpers.tones import write_tones

pytestmark = pytest.mark.slow
pytest.importorskip("s3fs", reason="needs s3fs: pip install -e '.[remote_tests]'")
pytest.importorskip("moto.server", reason="needs a server of S3: pip install -e '.[remote_tests]'")

KEY, SECRET = "AKIAOURTESTKEY000042", "notASecret+But/LongEnoughToBeFound0042"
# They hold places, or how long something took.
OWN = {"config.toml", "environment.json", "metrics.json", "report.html", "report.md", "result.json"}
LIMIT = 280  # s


@pytest.fixture
def server(monkeypatch):
    """A bucket of moto's server on this machine, with credentials in the environment, and a client."""
    import boto3
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    running.stop()


def objects(client, prefix: str) -> dict[str, bytes]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
    names = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return {name[len(prefix) :]: client.get_object(Bucket="bucket", Key=name)["Body"].read() for name in names}


def start(*arguments, cache: Path, output: Path) -> subprocess.Popen:
    """A command in a session of its own, with a cache of its own as another machine has."""
    with open(output, "wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "embcomp", *map(str, arguments)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "EMBCOMP_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def finished(process: subprocess.Popen, output: Path) -> str:
    try:
        code = process.wait(LIMIT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    said = output.read_text()
    assert code == 0, said
    return said


@pytest.mark.timeout(900)
def test_a_run_on_s3_is_killed_and_gone_on_with_elsewhere(server, tmp_path):
    data = tmp_path / "data"
    for number, name in enumerate(("home", "abroad")):
        write_tones(data / name, groups=4, clips=2, name=name, seed=number)
    (tmp_path / "tones.toml").write_text(TONES_RUN.format(workers=2).replace("seeds = [0, 1]", "seeds = [0, 1, 2, 3]"))
    upload(data, "s3://bucket/sets")
    about = [tmp_path / "tones.toml", "--set"]
    local = tmp_path / "local"
    finished(
        start("run", *about, f"data.root={data}", "--out", local, cache=tmp_path / "none", output=tmp_path / "0.txt"),
        tmp_path / "0.txt",
    )
    assert not (tmp_path / "none").exists()
    command = ["run", *about, "data.root=s3://bucket/sets", "--out", "s3://bucket/runs/tones"]
    first = start(*command, cache=tmp_path / "first", output=tmp_path / "1.txt")
    try:
        until = time.monotonic() + LIMIT
        while first.poll() is None and time.monotonic() < until:
            if server.list_objects_v2(Bucket="bucket", Prefix="runs/tones/stages/students/").get("KeyCount"):
                break
            time.sleep(0.02)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(60)
    before = objects(server, "runs/tones/")
    assert first.returncode == -signal.SIGKILL and before and "scores.csv" not in before, (
        tmp_path / "1.txt"
    ).read_text()
    said = finished(start(*command, cache=tmp_path / "second", output=tmp_path / "2.txt"), tmp_path / "2.txt")
    assert " reused" in said and "s3://bucket/runs/tones" in said
    there = objects(server, "runs/tones/")
    mine = contents_here(local)
    stages = {
        name for name in before if name.startswith("stages/") and "uploading" not in name and "checkpoint" not in name
    }
    open_folders = tuple(name[: -len(".uploading")] for name in before if name.endswith(".uploading")) or ("\0",)
    kept = {name for name in stages if not name.startswith(open_folders)}
    assert len(kept) > 10 and all(there[name] == before[name] for name in kept)  # nothing lost, nothing made again
    assert {name for name in there if "checkpoints" not in name} == set(mine)
    ours = {name for name in mine if Path(name).name not in OWN and not name.startswith("stages/datasets/")}
    for name in sorted(ours):
        assert there[name] == mine[name], name
    third = finished(start(*command, cache=tmp_path / "third", output=tmp_path / "3.txt"), tmp_path / "3.txt")
    assert "nothing to do" in third
    far = {name: content for name, content in {**there, **objects(server, "")}.items()}
    near = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name, content in {**far, **near}.items():
        assert KEY.encode() not in content and SECRET.encode() not in content, name
    for name, content in there.items():
        assert str(tmp_path / "second").encode() not in content and str(tmp_path / "first").encode() not in content, (
            name
        )


def test_hashes_come_from_checksums_and_missing_buckets_are_said_in_a_line(server, tmp_path, monkeypatch):
    from embcomp.errors import RemoteError
    from embcomp.storage import remote
    from embcomp.storage.bringing import hash_of
    from embcomp.storage.files import file_hash
    from embcomp.storage.outputs import begun
    from embcomp.storage.places import path_of

    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "PAUSE", 0)
    (tmp_path / "large").write_bytes(os.urandom(2 << 20))
    content = (tmp_path / "large").read_bytes()
    server.put_object(Bucket="bucket", Key="with", Body=content, ChecksumAlgorithm="SHA256")
    server.put_object(Bucket="bucket", Key="without", Body=content)
    assert remote.known_hash("s3://bucket/with")[:16] == file_hash(tmp_path / "large")
    assert (
        hash_of(path_of("s3://bucket/with")) == hash_of(path_of("s3://bucket/without")) == file_hash(tmp_path / "large")
    )
    assert not path_of("s3://bucket/with").exists() and path_of("s3://bucket/without").exists()
    with pytest.raises(RemoteError, match="cannot upload to s3://nowhere/x") as caught:
        remote.put(tmp_path / "large", "s3://nowhere/x")
    assert "\n" not in str(caught.value)
    assert not begun("s3://bucket/new").exists()
