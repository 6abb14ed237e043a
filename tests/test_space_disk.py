"""The Space's disk: what strangers have it fetch, upload and make stays within bounds."""

import json
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import space_client
from hub_client import Client, environment
from hub_server import Hub

from space.hub_cache import bytes_of

SIZE = 1_000_000
NAMES = [f"user/model{letter}" for letter in "abcdef"]


@pytest.fixture(scope="module")
def hub(clip_folder):
    with Hub() as server:
        for number, name in enumerate(NAMES):
            server.add(name, {"config.json": b"{}", "model.safetensors": bytes([number]) * SIZE})
        server.add("user/clip", {path.name: path.read_bytes() for path in Path(clip_folder).iterdir()})
        yield server


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    process = Client(environment(hub.endpoint, tmp_path_factory.mktemp("home")))
    yield process
    process.pool.shutdown()


def kept(*names: str) -> list[str]:
    return [f"models--{name.replace('/', '--')}" for name in names]


def test_the_least_recently_used_goes_first(client, tmp_path):
    a, b, c, *_ = NAMES
    found = client(space_client.use, str(tmp_path), int(2.5 * SIZE), [a, b, a, c])
    assert found["there"] == kept(a, c)
    assert found["used"] < 2.5 * SIZE
    assert client(space_client.use, str(tmp_path), int(2.5 * SIZE), [b])["there"] == kept(b, c)  # known after a restart


def test_a_fetch_larger_than_the_bound_is_refused_before_it_starts(hub, client, tmp_path):
    sent = hub.sent
    with pytest.raises(ValueError, match=r"user/modela has 1\.0 MB to fetch; this Space fetches up to 0\.5 MB"):
        client(space_client.use, str(tmp_path), SIZE // 2, NAMES[:1])
    assert hub.sent - sent < SIZE / 10
    assert not list(tmp_path.iterdir())


def test_what_is_in_use_stays_and_who_wants_its_place_is_told(client, tmp_path):
    a, b, c, *_ = NAMES
    found = client(space_client.use_beside, str(tmp_path), int(1.5 * SIZE), a, b)
    assert "full of what other visitors use right now" in found["why"]
    assert found["whole"]
    assert client(space_client.use, str(tmp_path), int(1.5 * SIZE), [b])["there"] == kept(b)
    assert client(space_client.use_beside, str(tmp_path), int(2.5 * SIZE), c, a) == {
        "why": "", "whole": True, "used": True
    }  # fmt: skip


def test_a_newer_commit_takes_the_place_of_the_older_one(hub, client, tmp_path):
    own = hub.add("user/moving", {"config.json": b"{}", "model.safetensors": b"1" * SIZE})
    client(space_client.use, str(tmp_path), int(1.5 * SIZE), ["user/moving"])
    own.commit({"model.safetensors": b"2" * SIZE})
    assert client(space_client.use, str(tmp_path), int(1.5 * SIZE), ["user/moving"])["used"] < 1.5 * SIZE


def test_what_a_crash_leaves_makes_room(hub, tmp_path):
    folder, settings = tmp_path / "cache", environment(hub.endpoint, tmp_path / "home")
    with pytest.raises(BrokenProcessPool):
        Client(settings)(space_client.use, str(folder), 10 * SIZE, NAMES[:1], crash=True)
    blobs = folder / kept(NAMES[0])[0] / "blobs"
    (blobs / "half-done.incomplete").write_bytes(bytes(SIZE // 2))
    (folder / "models--user--nothing" / "refs").mkdir(parents=True)
    (folder / "models--user--nothing" / "refs" / "main").write_text("a")
    found = Client(settings)(space_client.use, str(folder), int(1.2 * SIZE), NAMES[1:2])
    assert found["there"] == kept(NAMES[1])
    assert found["used"] < 1.2 * SIZE


def test_many_threads_lose_nothing_in_use_and_keep_to_the_bound(client, tmp_path):
    most = int(3.5 * SIZE)
    seen = client(space_client.use_from_threads, str(tmp_path), most, NAMES, threads=6, each=8)
    assert seen["lost"] == 0
    assert seen["used"] <= most
    assert seen["done"] > 6


def test_a_strangers_model_lies_in_the_own_cache_and_is_the_one_that_was_named(hub, client, clip, tmp_path):
    found = client(space_client.load, str(tmp_path), 10 * SIZE, "user/clip")
    assert (found["id"], found["revision"]) == ("user/clip", hub.repos["user/clip"].refs["main"])
    assert found["print"] == clip.fingerprint()
    assert 0 < found["used"] < 10 * SIZE
    assert found["elsewhere"] == []


def test_a_model_that_breaks_on_loading_leaves_nothing_and_no_path_is_told(hub, client, clip_folder, tmp_path):
    files = {path.name: path.read_bytes() for path in Path(clip_folder).iterdir()}
    config = json.loads(files["config.json"])
    config["text_config"]["hidden_size"] = 64
    hub.add("user/misfit", {**files, "config.json": json.dumps(config).encode()})
    with pytest.raises(ValueError, match="user/misfit: its files fit no CLIP") as refused:
        client(space_client.load, str(tmp_path), 10 * SIZE, "user/misfit")
    assert str(tmp_path) not in str(refused.value)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(("given", "found"), [("", 7), ("20e9", 20_000_000_000), (" 5 ", 5)])
def test_a_bound_is_a_number_of_bytes(monkeypatch, given, found):
    monkeypatch.setenv("BOUND", given)
    assert bytes_of("BOUND", 7) == found


@pytest.mark.parametrize("given", ["ten", "0", "-1", "nan", "inf", "10 GB"])
def test_a_bound_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("BOUND", given)
    with pytest.raises(ValueError, match="BOUND is a number of bytes, such as 20e9"):
        bytes_of("BOUND", 7)
