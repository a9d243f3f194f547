"""The Ray engine on a stand-in for Ray; on a real cluster it is run by test_ray_cluster.py."""

from __future__ import annotations

import json
import socket
import sys

import pytest
from helpers.fake_ray import FakeRay
from helpers.jobs import fails, square, wrong

from embcomp.config import parse
from embcomp.engines import ENGINES, open_engine
from embcomp.engines import ray as engine
from embcomp.errors import ConfigError, EmbcompError, EmbcompWarning, MissingDependencyError, StoreError


@pytest.fixture
def cluster(monkeypatch):
    """Makes an engine on a stand-in of given properties."""

    def make(workers=2, patience=900.0, **about):
        fake = FakeRay(**about)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        monkeypatch.setattr(engine, "load_ray", lambda private: fake)
        monkeypatch.setattr(engine, "set_threads", lambda threads: None)
        return fake, open_engine("ray", workers, patience=patience)

    return make


def jobs(count):
    return [{"number": number} for number in range(count)]


@pytest.mark.parametrize("workers, cores", [(1, 1), (2, 2), (3, 8), (8, 2)])
def test_every_job_is_answered_once(cluster, workers, cores):
    fake, there = cluster(workers, cores=cores)
    with there:
        assert sorted(there.map(square, jobs(7))) == [(number, number**2) for number in range(7)]
        assert list(there.map(square, [])) == []
        assert sorted(there.map(square, jobs(2))) == [(0, 0), (1, 1)]
    assert not fake.opened and not any(actor.alive for actor in fake.actors)


def test_no_more_jobs_are_under_way_than_there_are_workers_with_room(cluster):
    fake, there = cluster(8, cores=3)
    with there:
        list(there.map(square, jobs(20)))
    assert fake.most == 3 and len(fake.actors) == 8


def test_workers_are_kept_for_the_next_call(cluster):
    fake, there = cluster(2)
    with there:
        for _ in range(3):
            list(there.map(square, jobs(4)))
    assert len(fake.actors) == 2


def test_an_error_keeps_its_kind_and_words_and_leaves_no_answer_for_the_next_call(cluster):
    _, there = cluster(2)
    with there:
        with pytest.raises(StoreError, match="row 1 is bad"):
            list(there.map(fails, jobs(4)))
        assert sorted(there.map(square, jobs(4))) == [(number, number**2) for number in range(4)]


def test_a_mistake_of_the_program_is_shown_and_not_tried_again(cluster, capsys):
    fake, there = cluster(2)
    with there, pytest.raises(EmbcompError, match=r"a worker process died \(exit code 1\)"):
        list(there.map(wrong, jobs(4)))
    assert "KeyError: 'a mistake'" in capsys.readouterr().err and len(fake.actors) == 2


def test_a_job_whose_worker_dies_is_given_to_another(cluster):
    died = []

    def dies(actor, method, given):
        job = method == "run" and json.loads(given[1])["number"]
        if method == "run" and job in (2, 5) and died.count(job) < 2:
            died.append(job)
            return True
        return False

    fake, there = cluster(2, dies=dies)
    with there:
        assert sorted(there.map(square, jobs(7))) == [(number, number**2) for number in range(7)]
    assert sorted(died) == [2, 2, 5, 5] and len(fake.actors) == 6


def test_a_job_that_kills_every_worker_is_told(cluster):
    fake, there = cluster(2, dies=lambda actor, method, given: method == "run" and json.loads(given[1])["number"] == 3)
    with (
        there,
        pytest.raises(EmbcompError, match=r"^a worker process died; memory may have run out\. Run again to go on$"),
    ):
        list(there.map(square, jobs(5)))
    assert sum(not actor.alive for actor in fake.actors) == len(fake.actors)


def test_workers_that_cannot_start_are_told(cluster):
    _, there = cluster(2, dies=lambda actor, method, given: method == "greet")
    with there, pytest.raises(EmbcompError, match=r"workers do not start on the Ray cluster: End of file"):
        list(there.map(square, jobs(5)))


def test_workers_that_die_while_they_start_are_replaced_or_done_without(cluster):
    _, there = cluster(1, dies=lambda actor, method, given: method == "greet" and actor < 2)
    with there:
        assert len(list(there.map(square, jobs(5)))) == 5
    fake, there = cluster(3, cores=3, dies=lambda actor, method, given: method == "greet" and actor != 1)
    with there:
        assert len(list(there.map(square, jobs(5)))) == 5
    assert len(fake.actors) < 6


def test_a_machine_with_another_version_or_without_the_folder_refuses(tmp_path):
    worker = engine.Worker(1)
    said = json.loads(worker.greet("9.9", str(tmp_path)))["error"]
    assert f"has embcomp {engine.__version__}, and this machine 9.9: install the same on both" in said
    said = json.loads(worker.greet(engine.__version__, str(tmp_path / "none")))["error"]
    assert f"cannot work in {tmp_path / 'none'} (No such file or directory)" in said
    assert "all machines must see the same files at the same place" in said


def test_what_a_machine_refuses_is_raised(cluster, monkeypatch):
    monkeypatch.setattr(engine.Worker, "greet", lambda self, *given: json.dumps({"kind": "StoreError", "error": "no"}))
    _, there = cluster()
    with there, pytest.raises(StoreError, match="^no$"):
        list(there.map(square, jobs(2)))


def test_no_room_is_noted_and_given_up(cluster):
    _, there = cluster(2, cores=2, patience=0.02)
    with (
        there,
        pytest.raises(
            EmbcompError,
            match=r"no worker has started .* 0\.02 s: a worker needs 1 cores and 1 GPUs, and the cluster has 2 and 0",
        ),
        pytest.warns(EmbcompWarning, match="waiting for the Ray cluster to grow"),
    ):
        list(there.map(square, jobs(2), gpus=1))


def test_workers_that_hold_no_gpu_make_room_for_those_that_need_one(cluster):
    fake, there = cluster(0, cores=2, gpus=1)
    with there:
        assert len(list(there.map(square, jobs(3)))) == 3
        assert len(list(there.map(square, jobs(3), gpus=1))) == 3
    assert [actor.gpus for actor in fake.actors][-1] == 1 and sum(actor.gpus for actor in fake.actors) == 1


def test_jobs_of_several_processes_take_so_many_cores_of_fewer_workers(cluster):
    fake, there = cluster(4, cores=4)
    with there:
        assert len(list(there.map(square, jobs(9)))) == 9 and fake.most == 4
        fake.most = 0
        assert len(list(there.map(square, jobs(9), processes=2))) == 9 and fake.most == 2
        assert [actor.cores for actor in fake.actors if actor.alive] == [2, 2]
        # More than there are cores: they share them.
        assert len(list(there.map(square, jobs(2), processes=9))) == 2
        assert [actor.cores for actor in fake.actors if actor.alive] == [4]


def test_a_cluster_that_the_caller_has_opened_stays_open(cluster):
    fake, there = cluster()
    fake.init(address="theirs")
    with there:
        list(there.map(square, jobs(2)))
    assert fake.opened == {"address": "theirs"} and not any(actor.alive for actor in fake.actors)


def test_a_cluster_started_here_is_bounded_and_its_folder_goes(cluster, monkeypatch):
    from embcomp.engines import ray_cluster

    folders = []
    monkeypatch.setattr(
        ray_cluster, "session_folder", lambda make=ray_cluster.session_folder: folders.append(make()) or folders[-1]
    )
    fake, there = cluster(3)
    with there:
        assert fake.opened["address"] == "local" and fake.opened["include_dashboard"] is False
        assert fake.opened["object_store_memory"] == ray_cluster.OBJECTS and fake.opened["num_cpus"] >= 3
        assert folders[0].is_dir() and fake.opened["_temp_dir"] == str(folders[0])
    assert not folders[0].exists()


@pytest.mark.parametrize("address", ["nonsense", "host:0", "host:99999", ":6379", "ray://host:10001", "host:port"])
def test_an_address_that_is_none_is_refused(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError, match=r"RAY_ADDRESS is .* no HOST:PORT; give HOST:PORT"):
        open_engine("ray")


def test_an_address_where_nothing_answers_is_refused(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(
            ConfigError, match=r"where nothing answers \(.*\); give HOST:PORT of `ray start --head`, or unset"
        ):
            open_engine("ray")


def test_without_ray_the_install_command_is_named(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package ray: pip install -e '\.\[ray\]' in a clone"):
        open_engine("ray")


def test_the_engine_is_one_setting_and_a_wrong_one_has_its_nearest_named():
    assert parse({}).engine == "local" and [parse({"engine": name}).engine for name in ENGINES] == list(ENGINES)
    with pytest.raises(ConfigError, match=r"engine is 'rey'; did you mean 'ray'\? One of: local, ray"):
        parse({"engine": "rey"})
    with pytest.raises(ConfigError, match=r"unknown engine 'rey': did you mean 'ray'\?"):
        open_engine("rey")


def test_a_numbered_gpu_is_refused_where_ray_chooses():
    assert parse({"engine": "ray", "device": "cuda"}).device == "cuda"
    with pytest.raises(
        ConfigError, match=r'device is \'cuda:1\', and Ray chooses the GPU of each worker; write device = "cuda"'
    ):
        parse({"engine": "ray", "device": "cuda:1"})
    with pytest.raises(ConfigError, match=r"teacher\.device is 'cuda:1', and Ray chooses"):
        parse({"engine": "ray", "teacher": {"spec": "hf:model", "device": "cuda:1"}})
