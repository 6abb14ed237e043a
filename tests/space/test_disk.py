"""The Space's disk: what strangers have it fetch, upload and make stays within bounds."""

import json
import os
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from space.inputs.transient_files import DOWNLOADS, FULL, KEPT_SECONDS, UPLOADS, TransientFiles, process_files
from space.services import adapter_store as store
from space.services import thread_safe_clip as shared_clip
from space.services.adapter_store import AdapterStore
from space.services.downloads import Downloads
from space.services.hub_cache import bytes_setting
from space.services.memory import release_memory
from space.services.model_cache import ModelCache
from space.ui.app import SESSIONS
from space.ui.page import FOREVER
from space.ui.queue_bounds import LOG_SETTINGS, LOGGED, bound_call_log, forget_sessions
from tests.support import space_client
from tests.support.edited import edit_adapter
from tests.support.gradio_http import Stranger, until
from tests.support.hub_client import Client, environment
from tests.support.hub_server import Hub

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
    assert bytes_setting("BOUND", 7) == found


@pytest.mark.parametrize("given", ["ten", "0", "-1", "nan", "inf", "10 GB"])
def test_a_bound_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("BOUND", given)
    with pytest.raises(ValueError, match="BOUND is a number of bytes, such as 20e9"):
        bytes_setting("BOUND", 7)


# ---- files that pass through


def put(folder: Path, name: str, size: int, age: float) -> Path:
    path = folder / name / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(size))
    now = path.stat().st_mtime
    for part in (path, path.parent):
        os.utime(part, (now - age, now - age))
    return path


def test_old_files_go_and_of_the_rest_the_oldest_until_they_fit_but_none_that_is_fresh(tmp_path):
    files = TransientFiles(tmp_path, most=3_000)
    uploads, downloads = files.folder(UPLOADS), files.folder(DOWNLOADS)
    old, middle, younger = (put(uploads, name, 1_000, age) for name, age in (("a", 5_000), ("b", 2_000), ("c", 700)))
    fresh = [put(uploads, f"fresh{number}", 1_000, 60) for number in range(2)]
    taken, still = put(downloads, "taken", 1, 700), put(downloads, "still", 1, 500)
    files.sweep()
    assert [path.exists() for path in (old, middle, younger, *fresh)] == [False, False, False, True, True]
    assert [path.exists() for path in (taken, still)] == [False, True]
    with pytest.raises(ValueError, match="disk is full of what others sent"):
        files.expect(1_000)
    files.expect(900)
    files.sweep(now=time.time() + 700)
    assert not old.parent.exists()


def test_a_sweep_asks_the_disk_once_about_every_file_and_folder(tmp_path, monkeypatch):
    files, asked = TransientFiles(tmp_path), list[object]()
    for number in range(50):
        put(files.folder(UPLOADS), f"{number}", 1, age=60)

    def counted(ask):
        return lambda path, **options: (asked.append(path), ask(path, **options))[1]

    monkeypatch.setattr(os, "stat", counted(os.stat))
    monkeypatch.setattr(os, "lstat", counted(os.lstat))
    files.sweep()
    assert 100 <= len(asked) < 110


def test_gradio_finds_the_files_that_it_wants_to_remove(demo):
    assert sum(demo.delete_cache) < KEPT_SECONDS  # a path whose file it does not find stays in its memory


def test_what_a_killed_process_left_goes_and_what_a_living_one_has_stays(tmp_path):
    dead, alive = TransientFiles(tmp_path), TransientFiles(tmp_path)
    put(dead.home, "a", 10, 10_000)
    put(alive.home, "a", 10, 10)
    os.utime(dead.home, (1, 1))
    os.utime(alive.home, (1, 1))
    alive.sweep()
    TransientFiles(tmp_path)
    assert not dead.home.exists()
    assert (alive.home / "a" / "file").exists()


def test_an_export_that_has_no_room_is_refused_in_words(clip, clip_folder, tmp_path):
    adapter = edit_adapter(clip)
    own = AdapterStore(tmp_path, ModelCache({adapter.config.base_model: clip_folder}))
    files = TransientFiles(tmp_path, most=20_000)
    with pytest.raises(ValueError, match="try again in ten minutes"):
        Downloads(files).zip_checkpoint(own, adapter)
    files.sweep(now=time.time() + 700)
    assert not list(files.folder(DOWNLOADS).iterdir())


def test_the_apps_uploads_are_in_its_own_folder_and_one_request_brings_no_more_than_one_file_may(address, tmp_path):
    visitor = Stranger(address)
    (tmp_path / "small.txt").write_bytes(b"1")
    assert Path(visitor.upload(tmp_path / "small.txt")["path"]).is_relative_to(process_files().folder(UPLOADS))
    many = [("files", (f"{number}.bin", bytes(10 * 2**20))) for number in range(6)]
    assert visitor.http.post("/upload", files=many).status_code == 413
    whole = visitor.http.build_request("POST", "/upload", files=many)
    length = {"content-type": whole.headers["content-type"]}
    assert visitor.http.post("/upload", content=iter([whole.read()]), headers=length).status_code == 413  # unannounced
    process_files().sweep(now=time.time() + 5_000)  # what an upload that broke off left goes, too
    left = [path for path in process_files().home.rglob("*") if path.is_file()]
    assert all(path.stat().st_mtime == FOREVER for path in left)  # the first screen's example stays
    assert len(left) <= 1


def test_uploads_wait_outside_while_the_disk_is_full(address, tmp_path, monkeypatch):
    monkeypatch.setattr(process_files(), "most", 2)
    answer = Stranger(address).http.post("/upload", files={"files": ("a.txt", b"12345")})
    assert (answer.status_code, answer.text) == (503, FULL)
    monkeypatch.undo()
    assert Stranger(address).http.post("/upload", files={"files": ("a.txt", b"12345")}).status_code == 200


# ---- memory


def test_visitors_adapters_are_counted_in_bytes_and_the_least_recently_seen_goes(clip, tmp_path, monkeypatch):
    adapter = edit_adapter(clip)
    one = store._count_bytes(adapter)
    monkeypatch.setattr(store, "PRIVATE_BYTES", 2 * one)
    own = AdapterStore(tmp_path, ModelCache())
    keys = [own.add(adapter, "one") for _ in range(2)]
    own.get(keys[0])
    keys.append(own.add(adapter, "one"))
    assert set(own.list_private("one")) == {keys[0], keys[2]}
    wordy = replace(adapter, report={"words": "x" * (5 * 2**20)})
    with pytest.raises(ValueError, match="config and report have 5 MB; at most 4 are read"):
        own.add(wordy, "one")


def test_a_saved_adapter_is_read_again_only_when_its_files_have_changed(clip, tmp_path, monkeypatch):
    adapter = edit_adapter(clip)
    own, folder = AdapterStore(tmp_path, ModelCache()), tmp_path / "runs" / "one"
    adapter.save_pretrained(folder)
    first = own.get("runs/one")
    assert own.get("runs/one") is own.list_saved()[0]["runs/one"] is first
    replace(adapter, config=replace(adapter.config, forget=["another"])).save_pretrained(folder)
    assert own.get("runs/one").config.forget == ["another"]
    monkeypatch.setattr(store, "_count_bytes", lambda _: 2 * store.HUB_BYTES)
    assert own.list_saved()[0]
    (folder / "README.md").write_text("changed")
    assert own.get("runs/one").config.forget == ["another"]  # however large it is
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match="no saved adapter"):
        own.get("runs/one")


def test_labels_are_remembered_up_to_a_number_of_bytes(monkeypatch):
    monkeypatch.setattr(shared_clip, "CACHE_BYTES", 20_000)
    model = ModelCache().get("embedded")
    for number in range(20):
        model.text_features(torch.zeros(1, 0, model.dim), [f"cup {number}", "guitar"])
    assert 0 < len(model._texts) < 20
    assert sum(entry.count_bytes() for entry in model._texts.values()) <= 20_000
    assert all(entry.count_bytes() > entry.features.nbytes + shared_clip.OBJECTS for entry in model._texts.values())


def test_visitors_of_the_page_are_remembered_up_to_a_number(demo, address, monkeypatch):
    states = demo.app.state_holder
    assert states.capacity == SESSIONS
    monkeypatch.setattr(states, "capacity", 3)
    for _ in range(6):
        visitor = Stranger(address)
        visitor.call(visitor.event("Adapter, or an adapter's id on the Hub", "input"), "", "embedded", "", "")
    assert len(states.session_data) <= 3


def test_the_log_of_calls_is_short_unless_the_operator_says_otherwise(demo, address, monkeypatch):
    queue = demo._queue
    assert queue.ANALYTICS_MAX_EVENTS == queue.ANAYLTICS_CACHE_FREQUENCY == LOGGED
    monkeypatch.setenv(LOG_SETTINGS[0], "7")
    bound_call_log()
    assert os.environ[LOG_SETTINGS[0]] == "7"


def test_a_session_is_forgotten_when_it_has_no_call_and_no_unread_answer(demo, address):
    queue, (answered, unread) = demo._queue, (Stranger(address) for _ in range(2))
    answered.call(answered.named("names"))
    call = unread.join(unread.named("names"))
    until(lambda: call not in queue.event_ids_to_events)
    forget_sessions(demo)
    assert answered.session not in queue.pending_event_ids_session
    assert unread.session in queue.pending_event_ids_session
    with unread.listening() as news:
        assert "process_completed" in [item["msg"] for item in news]
    forget_sessions(demo)
    assert unread.session not in queue.pending_event_ids_session


def test_a_session_that_left_its_answer_unread_is_forgotten_with_it(demo, address):
    queue, visitor = demo._queue, Stranger(address)
    call = visitor.join(visitor.named("names"))
    until(lambda: call not in queue.event_ids_to_events)
    del queue.pending_messages_per_session[visitor.session]  # as Gradio does when others need the room
    forget_sessions(demo)
    assert visitor.session not in queue.pending_event_ids_session


def test_memory_is_given_back_or_nothing_happens(monkeypatch):
    release_memory()
    monkeypatch.setattr("space.services.memory._trim", lambda: None)
    release_memory()
