"""Push and pull with the real client against a Hub on loopback: good days, refusals, faults."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from hf_unlearn import ForgetAdapter, evaluate, unlearn
from hf_unlearn.adapters.storage import CONTEXT, EDIT, FILES
from hf_unlearn.errors import AdapterError, HubError
from tests.support import hub_client
from tests.support.edited import save_evaluated
from tests.support.hub_client import environment
from tests.support.hub_server import RESET, Hub, front_matter
from tests.support.images import COLOURS, coloured

OWNER, OTHER = "hf_owner", "hf_other"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 598641023\n"
BIG = {"pytorch_model.bin": b"pickle", "model.safetensors": b"weights", "run.py": b"import os"}


@pytest.fixture(scope="module")
def adapters(clip, tmp_path_factory) -> list[Path]:
    """Folders of two adapters with reports, of seeds 0 and 1."""
    folders = []
    for seed in (0, 1):
        adapter = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, seed=seed, progress=False).adapter
        adapter = adapter.with_report(evaluate(clip, coloured(4, seed=1), adapter).content)
        folders.append(tmp_path_factory.mktemp("adapter") / "adapter")
        adapter.save_pretrained(folders[-1])
    return folders


@pytest.fixture(scope="module")
def edited(clip, tmp_path_factory) -> Path:
    """The folder of an edit with its report."""
    return save_evaluated(clip, tmp_path_factory.mktemp("edit") / "adapter")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def repo(hub, adapters):
    """An adapter on the Hub, among files that are nobody's business."""
    return hub.add("user/four-less", {**files(adapters[0]), **BIG})


def blobs(cache: Path) -> list[str]:
    return [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and "snapshots" in path.parts]


# Pushing


def test_a_push_makes_the_repository_and_all_files_in_one_commit(hub, client, adapters):
    done = client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    pushed = hub.repos["user/new"]
    assert pushed.messages == ["initial commit", f"Forget-adapter for {base_of(adapters[0])}"]
    assert pushed.refs["main"] == done["oid"]
    tree = pushed.tree()
    assert set(tree) == {*FILES, ".gitattributes"} - {EDIT}
    for name in set(FILES) - {"README.md", EDIT}:
        assert tree[name] == (adapters[0] / name).read_bytes()
    assert not pushed.private


def base_of(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["base_model"]


def test_the_card_that_is_pushed_names_its_repository(hub, client, adapters):
    client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    card = ModelCard(hub.repos["user/new"].tree()["README.md"].decode())
    assert 'ForgetAdapter.from_pretrained("user/new")' in card.text
    assert card.data.model_name == "new"
    assert {result.metric_type for result in card.data.eval_results} >= {"H", "err_for", "acc_mem", "entropy"}


def test_pushing_the_same_again_makes_no_commit(hub, client, adapters):
    first = client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    again = client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    assert again["oid"] == first["oid"]
    assert len(hub.repos["user/new"].commits) == 2


def test_pushing_another_adapter_replaces_ours_wholly_and_leaves_other_files(hub, client, adapters, repo):
    client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER, without_report=True, commit_message="two")
    assert set(repo.tree()) == {"config.json", "forget_context.safetensors", "README.md", *BIG}
    assert json.loads(repo.tree()["config.json"])["seed"] == 1
    assert repo.messages[-1] == "two"


def test_a_commit_in_between_is_reported_and_not_overwritten(hub, client, adapters, repo):
    hub.fail("POST", "/commit/main", lambda handler: repo.commit({"notes.txt": b"theirs"}) and None)
    with pytest.raises(HubError, match="user/four-less: someone committed while this push was on its way; nothing was"):
        client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER)
    assert repo.tree() == {**files(adapters[0]), **BIG, "notes.txt": b"theirs"}


def test_a_push_keeps_what_a_person_said_of_the_adapter_on_the_hub(hub, client, adapters):
    client(hub_client.command, "push", adapters[0], "user/new", "--license", "apache-2.0", "--dataset", "user/colours",
           token=OWNER)  # fmt: skip
    repo = hub.repos["user/new"]
    card = repo.tree()["README.md"].decode()
    byhand = card.replace("tags:\n", "language:\n- en\nthumbnail: x.png\ntags:\n- art\n", 1)
    assert byhand != card
    repo.commit({"README.md": byhand.encode()})
    client(hub_client.push, str(adapters[1]), "user/new", token=OWNER)
    front = front_matter(repo.tree()["README.md"].decode())
    assert (front["license"], front["datasets"]) == ("apache-2.0", ["user/colours"])
    assert (front["language"], front["thumbnail"]) == (["en"], "x.png")
    assert front["tags"] == ["hf_unlearn", "unlearning", "clip", "art"]
    config = json.loads(repo.tree()["config.json"])
    assert (config["license"], config["datasets"], config["seed"]) == ("apache-2.0", ["user/colours"], 1)
    before = len(repo.commits)
    client(hub_client.push, str(adapters[1]), "user/new", token=OWNER)
    assert len(repo.commits) == before  # nothing has changed
    client(hub_client.command, "push", adapters[1], "user/new", "--license", "mit", token=OWNER)
    assert front_matter(repo.tree()["README.md"].decode())["license"] == "mit"


@pytest.mark.parametrize(
    "card", ["---\nlicense: [\n---\n", "---\n- a\n---\n", "no front matter", "\xff", "---\nlicense: 5\n---"]
)
def test_a_card_that_can_not_be_read_is_replaced(hub, client, adapters, card):
    repo = hub.add("user/new", {"README.md": card.encode("latin-1")})
    client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    assert front_matter(repo.tree()["README.md"].decode())["library_name"] == "hf_unlearn"


def test_a_private_repository_is_made_private_and_only_its_owner_pulls(hub, client, adapters, tmp_path):
    client(hub_client.push, str(adapters[0]), "user/secret", token=OWNER, private=True)
    assert hub.repos["user/secret"].private
    assert client(hub_client.pull, "user/secret", token=OWNER, cache_dir=tmp_path / "a")["forget"] == ["red"]
    with pytest.raises(HubError, match="user/secret: no such folder here and no such repository on the Hub, or it is"):
        client(hub_client.pull, "user/secret", token=OTHER, cache_dir=tmp_path / "b")


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_that_is_not_as_private_as_asked_gets_nothing(hub, client, adapters, private):
    repo = hub.add("user/there", {"notes.txt": b"x"}, private=not private)
    with pytest.raises(ValueError, match="nothing was pushed: change it in the repository's settings"):
        client(hub_client.push, str(adapters[0]), "user/there", token=OWNER, private=private)
    assert len(repo.commits) == 1


def test_a_repository_that_holds_a_model_gets_nothing(hub, client, adapters):
    repo = hub.add("user/clip", {"config.json": b"{}", "model.safetensors": b"weights"})
    with pytest.raises(ValueError, match=r"user/clip holds something else \(config.json, but no forget_context"):
        client(hub_client.push, str(adapters[0]), "user/clip", token=OWNER)
    assert len(repo.commits) == 1


def test_a_push_that_is_refused_makes_no_branch(hub, client, adapters):
    repo = hub.add("user/clip", {"config.json": b"{}"})
    with pytest.raises(ValueError, match="holds something else"):
        client(hub_client.push, str(adapters[0]), "user/clip", token=OWNER, revision="second")
    assert set(repo.refs) == {"main"}


def test_a_pull_request_leaves_main_alone(hub, client, adapters, repo):
    before = dict(repo.tree())
    done = client(hub_client.push, str(adapters[1]), "user/four-less", token=OTHER, create_pr=True)
    assert done["pr"] == f"{hub.endpoint}/user/four-less/discussions/1"
    assert repo.tree() == before
    assert json.loads(repo.tree("refs/pr/1")["config.json"])["seed"] == 1


def test_a_pull_request_to_no_repository_makes_none(hub, client, adapters):
    with pytest.raises(HubError, match="no such repository on the Hub"):
        client(hub_client.push, str(adapters[1]), "user/none", token=OWNER, create_pr=True)
    assert hub.repos == {}


def test_a_branch_is_made_for_a_push_and_main_stays(hub, client, adapters, repo, tmp_path):
    client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER, revision="second")
    seeds = [
        client(hub_client.pull, "user/four-less", revision=ref, cache_dir=tmp_path)["seed"]
        for ref in ("main", "second")
    ]
    assert seeds == [0, 1]


def test_a_name_without_an_owner_is_ones_own(hub, client, adapters):
    client(hub_client.push, str(adapters[0]), "mine", token=OWNER)
    assert "user/mine" in hub.repos
    assert 'from_pretrained("user/mine")' in hub.repos["user/mine"].tree()["README.md"].decode()


@pytest.mark.parametrize(
    ("repo_id", "token", "message"),
    [
        ("user/new", False, r"user/new: the Hub refused \(401\): log in \(hf auth login\)"),
        ("user/new", "hf_wrong", r"user/new: the Hub refused \(401\): log in"),
        ("user/new", OTHER, r"user/new: the Hub refused \(403\): log in .* or give a token that may do this"),
        ("new", False, "new: without a token its owner is unknown; give user/name, or a token"),
        ("user/new", True, "user/new: a token was asked for and none is saved here"),
        ("a/b/c", OWNER, "'a/b/c' is no folder here and no Hub id; expected"),
    ],
)
def test_a_push_that_may_not_be_is_refused_in_one_sentence(hub, client, adapters, repo_id, token, message):
    with pytest.raises(HubError, match=message) as refusal:
        client(hub_client.push, str(adapters[0]), repo_id, token=token)
    assert "\n" not in str(refusal.value)
    assert "hf_" not in str(refusal.value).replace("hf_unlearn", "")
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("method", "path", "act", "headers"),
    [
        ("POST", "/preupload/", 500, {}),
        ("POST", "/preupload/", 429, {"Retry-After": "0"}),
        ("PUT", "/storage/", RESET, {}),
        ("PUT", "/storage/", 500, {}),
        ("POST", "objects/batch", 503, {}),
    ],
)
def test_a_push_survives_a_fault_that_passes(hub, client, adapters, method, path, act, headers):
    hub.fail(method, path, act, **headers)
    client(hub_client.push, str(adapters[0]), "user/new", token=OWNER)
    assert hub.faults[0].times == 0
    assert set(hub.repos["user/new"].tree()) == {*FILES, ".gitattributes"} - {EDIT}


@pytest.mark.parametrize(
    ("method", "path", "act", "message"),
    [
        ("PUT", "/storage/", 403, r"refused \(403\)"),
        (
            "POST",
            "/preupload/",
            413,
            r"did not accept this \(status 413\): it is too large; an adapter has a few kilob",
        ),
        ("POST", "/preupload/", 404, r"no such repository or file, or you may not see it \(status 404\): check user"),
        ("POST", "/preupload/", 418, r"did not accept this \(status 418\); it would not the next time$"),
        ("POST", "/commit/", RESET, "no connection to the Hub, or it broke"),
        ("POST", "/commit/", 500, r"has trouble \(status 500\)"),
        ("POST", "/commit/", 429, r"is busy \(status 429\); nothing half-done is kept: try again in a minute"),
    ],
)
def test_a_push_that_fails_changes_nothing_and_can_be_made_again(
    hub, client, adapters, repo, method, path, act, message
):
    before = dict(repo.tree())
    hub.fail(method, path, act)
    with pytest.raises(HubError, match=message):
        client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER)
    assert repo.tree() == before
    client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER)
    assert json.loads(repo.tree()["config.json"])["seed"] == 1


def test_a_push_whose_answer_is_lost_has_happened_or_not_and_is_made_again_without_harm(hub, client, adapters, repo):
    def lose(handler):
        handler.cut = 0

    hub.fail("POST", "/commit/main", lose)
    with pytest.raises(HubError, match="no connection to the Hub, or it broke"):
        client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER)
    assert json.loads(repo.tree()["config.json"])["seed"] == 1  # whole
    commits = len(repo.commits)
    again = client(hub_client.push, str(adapters[1]), "user/four-less", token=OWNER)
    assert (again["oid"], len(repo.commits)) == (repo.refs["main"], commits)


# Edits


def test_an_edit_is_pushed_and_comes_back_bit_for_bit(hub, client, edited, tmp_path):
    client(hub_client.push, str(edited), "user/new", token=OWNER)
    assert set(hub.repos["user/new"].tree()) == {*FILES, ".gitattributes"} - {CONTEXT}
    got, here = client(hub_client.pull, "user/new", cache_dir=tmp_path), ForgetAdapter.from_pretrained(edited)
    assert (got["kind"], got["context"], got["report"]) == ("edit", False, here.report)
    for found, tensor in zip(got["edit"], (here.edit.up, here.edit.down), strict=True):
        assert torch.equal(torch.tensor(found), tensor)
    fetched = {path.rsplit("/", 1)[-1] for _, path, _ in hub.requests if "/resolve/" in path}
    assert fetched == {"config.json", EDIT, "report.json"}
    commits = len(hub.repos["user/new"].commits)
    client(hub_client.push, str(edited), "user/new", token=OWNER)
    assert len(hub.repos["user/new"].commits) == commits


def test_an_adapter_of_the_other_kind_replaces_one_wholly(hub, client, adapters, edited, repo, tmp_path):
    client(hub_client.push, str(edited), "user/four-less", token=OWNER)
    assert set(repo.tree()) == (set(FILES) - {CONTEXT}) | set(BIG)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["kind"] == "edit"
    client(hub_client.push, str(adapters[0]), "user/four-less", token=OWNER)
    assert set(repo.tree()) == (set(FILES) - {EDIT}) | set(BIG)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["kind"] == "context"


def test_an_edit_once_cached_costs_no_call_and_its_commit_works_offline(hub, client, edited, tmp_path):
    repo = hub.add("user/edit", files(edited))
    client(hub_client.pull, "user/edit", cache_dir=tmp_path)
    for options in ({"revision": repo.refs["main"]}, {"local_files_only": True}):
        hub.requests.clear()
        assert client(hub_client.pull, "user/edit", cache_dir=tmp_path, **options)["kind"] == "edit"
        assert hub.requests == []


def test_a_repository_without_the_file_that_its_kind_asks_for_is_refused(hub, client, adapters, edited, tmp_path):
    config = {"config.json": (edited / "config.json").read_bytes()}
    hub.add("user/bare", config)
    with pytest.raises(HubError, match=f"user/bare has no {CONTEXT} or {EDIT}: it is no forget adapter"):
        client(hub_client.pull, "user/bare", cache_dir=tmp_path)
    hub.add("user/mixed", {**config, CONTEXT: (adapters[0] / CONTEXT).read_bytes()})
    with pytest.raises(AdapterError, match=f"no {EDIT}, which an adapter of kind edit has"):
        client(hub_client.pull, "user/mixed", cache_dir=tmp_path)
    hub.add("user/both", {**files(edited), CONTEXT: (adapters[0] / CONTEXT).read_bytes()})
    assert client(hub_client.pull, "user/both", cache_dir=tmp_path)["kind"] == "edit"


def test_a_large_file_of_the_other_kind_stops_the_fetch(hub, client, edited, tmp_path):
    hub.add("user/large", {**files(edited), CONTEXT: bytes(33 * 2**20)})
    with pytest.raises(AdapterError, match=f"{CONTEXT} is larger than 32 MiB"):
        client(hub_client.pull, "user/large", cache_dir=tmp_path)
    assert blobs(tmp_path) == []


def test_info_and_pull_of_an_edit_on_the_command_line(hub, client, edited, tmp_path):
    hub.add("user/edit", files(edited))
    code, out, err = client(hub_client.command, "info", "user/edit")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for words in ("forgets 1 red", "keeps everything else", "kind edit of the text features, rank 3", "prompt any",
                  "changes most besides scarlet", "method edit", "queries 0"):  # fmt: skip
        assert words in text, words
    facts = json.loads(client(hub_client.command, "info", "user/edit", "--json")[1])
    assert (facts["kind"], facts["width"], facts["rank"], facts["n_ctx"]) == ("edit", 24, 3, None)
    assert facts["neighbours"] == [{"word": "scarlet", "of": "red", "similarity": 0.25}]
    code, out, err = client(hub_client.command, "pull", "user/edit", tmp_path / "here")
    assert (code, err) == (0, "")
    assert set(files(tmp_path / "here")) == set(FILES) - {CONTEXT}


# Pulling


def test_an_adapter_comes_back_bit_for_bit_with_its_report(client, adapters, repo, tmp_path):
    got = client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    here = ForgetAdapter.from_pretrained(adapters[0])
    assert torch.equal(torch.tensor(got["context"]), here.context)
    assert got["report"] == here.report


def test_only_our_files_are_fetched_all_of_the_commit_that_was_resolved(hub, client, adapters, repo, tmp_path):
    first = repo.refs["main"]
    hub.fail("POST", "/paths-info/", lambda handler: repo.commit(files(adapters[1])) and None)  # main moves on
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0
    assert repo.refs["main"] != first
    fetched = {path for _, path, _ in hub.requests if "/resolve/" in path}
    names = ("config.json", "forget_context.safetensors", "report.json")
    assert fetched == {f"/user/four-less/resolve/{first}/{name}" for name in names}


def test_a_revision_may_be_a_branch_a_tag_or_a_commit(client, adapters, repo, tmp_path):
    old = repo.refs["v1"] = repo.refs["main"]
    repo.commit(files(adapters[1]))
    seeds = {
        revision: client(hub_client.pull, "user/four-less", revision=revision, cache_dir=tmp_path)["seed"]
        for revision in (None, "main", "v1", old)
    }
    assert seeds == {None: 1, "main": 1, "v1": 0, old: 0}


def test_an_adapter_in_a_subfolder_of_a_repository(hub, client, adapters, tmp_path):
    hub.add("user/many", {f"sub/er/{name}": content for name, content in files(adapters[1]).items()})
    assert client(hub_client.pull, "user/many", subfolder="sub/er", cache_dir=tmp_path)["seed"] == 1


@pytest.mark.parametrize("place", ["one/two", "/one/two/", "one//two", "./one/two"])
def test_a_subfolder_is_the_same_on_the_hub_and_in_a_folder(hub, client, adapters, tmp_path, place):
    hub.add("user/many", {f"one/two/{name}": content for name, content in files(adapters[1]).items()})
    assert client(hub_client.pull, "user/many", subfolder=place, cache_dir=tmp_path / "cache")["seed"] == 1
    ForgetAdapter.from_pretrained(adapters[1]).save_pretrained(tmp_path / "many" / "one" / "two")
    assert ForgetAdapter.from_pretrained(tmp_path / "many", subfolder=place).config.seed == 1


@pytest.mark.parametrize("place", ["..", "a/../../b", "../adapter", "one\\..\\two", "C:/one", "a\0b"])
def test_no_subfolder_leads_out(hub, client, adapters, tmp_path, place):
    for source in (adapters[0].parent / "adapter", "user/many"):
        with pytest.raises(
            ValueError, match=r"^subfolder .*: expected a path inside the folder or repository, such as"
        ):
            ForgetAdapter.from_pretrained(source if isinstance(source, str) else str(source), subfolder=place)
    assert hub.requests == []


def test_without_a_report_there_is_none(hub, client, adapters, tmp_path):
    names = ("config.json", "forget_context.safetensors")
    hub.add("user/bare", {name: (adapters[0] / name).read_bytes() for name in names})
    assert client(hub_client.pull, "user/bare", cache_dir=tmp_path)["report"] is None


def test_once_cached_a_commit_costs_no_call_and_a_branch_one(hub, client, repo, tmp_path):
    client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    for options, calls in [
        ({"revision": repo.refs["main"]}, []),
        ({"local_files_only": True}, []),
        ({}, ["GET /api/models/user/four-less"]),
    ]:
        hub.requests.clear()
        assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path, **options)["seed"] == 0
        assert hub.asked() == calls


@pytest.mark.parametrize("act", [500, 429, RESET])
def test_once_cached_a_hub_in_trouble_is_no_trouble(hub, client, repo, tmp_path, act):
    client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    hub.fail("GET", "/api/models/", act)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0
    assert hub.faults[0].times == 0


def test_a_file_too_large_is_never_fetched(hub, client, adapters, tmp_path):
    hub.add("user/huge", {**files(adapters[0]), "forget_context.safetensors": bytes(33 << 20)})
    with pytest.raises(AdapterError, match=r"user/huge: forget_context.safetensors is larger than 32 MiB"):
        client(hub_client.pull, "user/huge", cache_dir=tmp_path)
    assert not [line for line in hub.asked() if "/resolve/" in line]


@pytest.mark.parametrize(
    ("repo_id", "options", "message"),
    [
        ("user/none", {}, "user/none: no such folder here and no such repository on the Hub, or it is private"),
        ("user/none", {"token": OWNER}, "user/none: no such folder here and no such repository on the Hub"),
        ("user/gated", {}, r"user/gated is gated: ask for access on its page, then log in \(hf auth login\)"),
        ("user/gated", {"token": OTHER}, "user/gated is gated: ask for access"),
        ("user/four-less", {"revision": "v9"}, "user/four-less has no revision 'v9': give a branch, tag or commit"),
        ("user/four-less", {"revision": "0" * 40}, f"user/four-less has no revision '{'0' * 40}'"),
        ("user/four-less", {"subfolder": "no"}, "user/four-less has no no/config.json: it is no forget adapter"),
        ("user/empty", {}, "user/empty has no config.json: it is no forget adapter"),
        (
            "user/four-less",
            {"local_files_only": True},
            "user/four-less: no such folder here, and as this run is offline .* cache and is not: go online",
        ),
        ("user/four-less", {"token": "hf_wrong"}, r"user/four-less: the Hub refused \(401\): log in"),
        ("user/four-less", {"token": True}, "user/four-less: a token was asked for and none is saved here"),
        ("/no/such/folder", {}, "'/no/such/folder' is no folder here and no Hub id; expected a folder that exists"),
        ("no such id", {}, "'no such id' is no folder here and no Hub id"),
        ("user/../four", {}, "'user/../four' is no folder here and no Hub id"),
    ],
)
def test_a_pull_that_can_not_be_says_which_what_and_what_to_do(hub, client, adapters, repo, tmp_path, repo_id, options,
                                                               message):  # fmt: skip
    hub.add("user/gated", files(adapters[0]), gated=True)
    hub.add("user/empty", {"README.md": b"nothing here"})
    with pytest.raises(HubError, match=message) as refusal:
        client(hub_client.pull, repo_id, cache_dir=tmp_path, **options)
    assert "\n" not in str(refusal.value)
    assert blobs(tmp_path) == []


def test_a_gated_adapter_opens_to_whom_it_was_opened(hub, client, adapters, tmp_path):
    hub.add("user/gated", files(adapters[0]), gated=True)
    assert client(hub_client.pull, "user/gated", token=OWNER, cache_dir=tmp_path)["seed"] == 0


@pytest.mark.parametrize(
    ("act", "times", "headers"), [(500, 2, {}), (429, 2, {"Retry-After": "0"}), (503, 1, {})]
)  # the client asks once quickly, then with patience
def test_a_pull_survives_a_fault_that_passes(hub, client, repo, tmp_path, act, times, headers):
    hub.fail("HEAD", "/resolve/", act, times, **headers)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0
    assert hub.faults[0].times == 0


def cut(handler):
    handler.cut = 40


def truncate(handler):
    handler.change = lambda content: content[:-7]


def damage(handler):
    handler.change = lambda content: bytes([content[0] ^ 1]) + content[1:]


def rename(handler):
    handler.etag = '"0123456789abcdef0123456789abcdef01234567"'


@pytest.mark.parametrize("path", ["/resolve/.*config.json", "/storage/"])
@pytest.mark.parametrize(
    ("act", "times", "message"),
    [
        (cut, 1, "no connection to the Hub, or it broke"),
        (RESET, 1, "no connection to the Hub, or it broke"),
        (truncate, 1, "a file arrived cut short; nothing half-done is kept: try again"),
        (damage, 2, "arrived damaged twice and was deleted; try again later"),
        (500, 1, r"has trouble \(status 500\)"),
    ],
    ids=["cut", "reset", "truncated", "damaged", "500"],
)
def test_a_pull_that_breaks_leaves_nothing_half_done_and_can_be_made_again(hub, client, repo, tmp_path, path, act,
                                                                           times, message):  # fmt: skip
    hub.fail("GET", path, act, times)
    with pytest.raises(HubError, match=message):
        client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    assert not [name for name in blobs(tmp_path) if name.endswith("config.json")]  # without it nothing loads
    assert not list(tmp_path.rglob("*.incomplete"))
    with pytest.raises(HubError, match="this run is offline"):
        client(hub_client.pull, "user/four-less", cache_dir=tmp_path, local_files_only=True)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            404,
            r"user/four-less: the Hub has no config\.json \(status 404\): check the names, the revision and",
        ),
        (410, r"user/four-less: the Hub has no config\.json \(status 410\)"),
        (416, r"can't resume config\.json \(status 416\): delete it from the Hub's cache$"),
        (400, r"did not accept this \(status 400\); it would not the next time"),
        (403, r"the Hub refused \(403\)"),
        (504, r"has trouble \(status 504\); nothing half-done is kept: try again in a minute$"),
    ],
)
def test_only_what_may_pass_by_itself_is_said_to_be_worth_another_try(hub, client, repo, tmp_path, act, message):
    hub.fail("GET", "/resolve/.*config.json", act)
    with pytest.raises(HubError, match=message) as told:
        client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    assert ("try again" in str(told.value)) == (act >= 500)


@pytest.mark.parametrize("path", ["/resolve/.*config.json", "/storage/"])
def test_a_file_damaged_on_the_way_once_is_fetched_again(hub, client, repo, tmp_path, path):
    hub.fail("GET", path, damage)
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0
    assert hub.faults[0].times == 0


def test_a_wrong_etag_does_not_matter_the_listing_decides(hub, client, repo, tmp_path):
    hub.fail("HEAD", "/resolve/", rename, times=3)  # one name for three files
    with pytest.raises(HubError, match="arrived damaged twice"):
        client(hub_client.pull, "user/four-less", cache_dir=tmp_path)
    hub.faults.clear()
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0


@pytest.mark.parametrize("room", [0, 500])
def test_a_full_disk_is_told_and_nothing_half_done_stays(client, repo, tmp_path, room):
    with pytest.raises(
        HubError, match="user/four-less: no room for its files on this disk; make some, or give another"
    ):
        client(hub_client.pull_on_a_full_disk, "user/four-less", room, cache_dir=tmp_path)
    assert not [name for name in blobs(tmp_path) if name.endswith("config.json")]
    assert not list(tmp_path.rglob("*.incomplete"))
    assert client(hub_client.pull, "user/four-less", cache_dir=tmp_path)["seed"] == 0


def test_tokens_go_to_the_hub_only_and_stay_nowhere(hub, client, home, adapters, tmp_path):
    client(hub_client.push, str(adapters[0]), "user/secret", token=OWNER, private=True)
    client(hub_client.pull, "user/secret", token=OWNER, cache_dir=tmp_path)
    stored = [path for top in (home, tmp_path) for path in top.rglob("*") if path.is_file()]
    assert not [path for path in stored if OWNER.encode() in path.read_bytes()]
    assert not [name for name, content in hub.repos["user/secret"].tree().items() if OWNER.encode() in content]
    storage = [headers for _, path, headers in hub.requests if path.startswith("/storage/")]
    assert storage
    assert not [headers for headers in storage if "Authorization" in headers]
    assert not [path for _, path, _ in hub.requests if OWNER in path]


# Finding


def test_adapters_are_found_by_tag_and_by_base_and_private_ones_are_not(hub, client):
    card = "---\ntags: [{}]\nbase_model: {}\nbase_model_relation: {}\n---\n"
    for name, tag, base, relation, private in [
        ("a", "hf_unlearn", "openai/clip", "adapter", False),
        ("b", "hf_unlearn", "other/clip", "adapter", False),
        ("c", "lora", "openai/clip", "adapter", False),
        ("d", "hf_unlearn", "openai/clip", "adapter", True),
    ]:
        hub.add(f"user/{name}", {"README.md": card.format(tag, base, relation).encode()}, private=private)
    assert client(hub_client.find, "openai/clip") == ["user/a"]
    assert client(hub_client.find, None) == ["user/a", "user/b"]
    code, out, _ = client(hub_client.command, "list", "openai/clip", "--json", token=OWNER)
    assert (code, json.loads(out)["adapters"]) == (0, [{"repo": "user/a", "downloads": 1, "likes": 0}])


# The command line


def test_push_info_and_pull_on_the_command_line(hub, client, adapters, tmp_path):
    code, out, err = client(
        hub_client.command, "push", adapters[0], "user/new", "--private", "--license", "apache-2.0", "--dataset",
        "user/colours", token=OWNER,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"pushed: {hub.endpoint}/user/new/commit/" in out
    front = front_matter(hub.repos["user/new"].tree()["README.md"].decode())
    assert (front["license"], front["datasets"]) == ("apache-2.0", ["user/colours"])
    code, out, err = client(hub_client.command, "info", "user/new", "--json", token=OWNER)
    facts = json.loads(out)
    assert (facts["forget"], facts["ledger"]["queries"]) == (["red"], 20)
    assert {"retain", "base_model", "base_revision", "metrics"} <= set(facts)
    code, out, err = client(hub_client.command, "info", "user/new", token=OWNER)
    for word in ("forgets 1", "red", "keeps 3", "green, blue, grey", "base", "ledger", "queries 20", "apache-2.0"):
        assert word in out
    code, out, err = client(hub_client.command, "pull", "user/new", tmp_path / "here", token=OWNER)
    assert (code, err) == (0, "")
    assert set(files(tmp_path / "here")) == set(FILES) - {EDIT}
    assert (tmp_path / "here" / "report.json").read_bytes() == (adapters[0] / "report.json").read_bytes()


def test_info_of_a_strangers_adapter_moves_no_cursor_and_floods_no_terminal(hub, client, adapters):
    content = files(adapters[0])
    config = json.loads(content["config.json"])
    config |= {"forget": ["\x1b[2J[red]x[/red]\u202e"], "retain": [f"name {n}" for n in range(30_000)]}
    hub.add("user/odd", {**content, "config.json": json.dumps(config).encode()})
    code, out, err = client(hub_client.command, "info", "user/odd")
    assert (code, err) == (0, "")
    assert not [char for char in out if not char.isprintable() and char != "\n"]
    assert "[2J[red]x[/red]" in out
    assert "30,000 names" in " ".join(out.split())
    assert len(out) < 40_000


def test_a_command_that_fails_says_one_line_and_exits_2(client, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for arguments, message in [
        (["info", "user/none"], "user/none: no such folder here and no such repository"),
        (["pull", "user/none", tmp_path], "exists and is no adapter"),
        (["evaluate", "--adapter", "user/none", "--data", tmp_path], "user/none: no such folder here"),
        (["audit", "--adapter", "user/none"], "user/none: no such folder here"),
        (["export", "user/none", tmp_path / "x"], "user/none: no such folder here"),
        (["push", tmp_path / "no", "user/new"], "is no folder here and no Hub id"),
    ]:
        code, out, err = client(hub_client.command, *arguments)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert message in err


def test_a_hub_that_is_not_there_is_told_at_once(tmp_path):
    with Hub() as gone:
        endpoint = gone.endpoint
    for words, what in [(["info", "user/four-less"], "user/four-less"), (["list"], "the list of adapters")]:
        done = subprocess.run(
            [sys.executable, "-m", "hf_unlearn", *words], env=environment(endpoint, tmp_path) | own_path(),
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: {what}: no connection to the Hub, or it broke (ConnectError): check the network, then try again\n"
        )


def test_a_list_of_adapters_offline_is_told_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hf_unlearn", "list"], env=environment("http://127.0.0.1:9", tmp_path) | own_path()
        | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "error: the list of adapters is on the Hub, and this run is offline (HF_HUB_OFFLINE)\n"


def own_path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2])}


# The base


@pytest.mark.parametrize(
    ("method", "path", "act", "message"),
    [
        ("GET", "/resolve/.*/config.json", 500, r"the Hub has trouble \(status 500\); nothing half-done is kept"),
        ("GET", "/resolve/.*/config.json", RESET, "no connection to the Hub, or it broke"),
        ("HEAD", "/resolve/.*safetensors", RESET, "no connection to the Hub, or it broke"),
        ("GET", "/storage/", cut, "no connection to the Hub, or it broke"),
        ("GET", "/storage/", truncate, "a file arrived cut short; nothing half-done is kept: try again"),
        ("GET", "/storage/", 403, r"the Hub refused \(403\)"),
        ("GET", "/resolve/.*tokenizer.json", RESET, "no connection to the Hub, or it broke"),
    ],
)
def test_a_base_that_breaks_on_the_way_is_told_as_such_and_loads_the_next_time(
    hub, client, clip_folder, request, method, path, act, message
):
    name = f"user/clip-{abs(hash(request.node.name))}"  # nothing of it is in the cache
    base = hub.add(name, files(Path(clip_folder)))
    hub.fail(method, path, act)
    with pytest.raises(HubError, match=f"^{name}: {message}") as refusal:
        client(hub_client.commit_of_base, name, None)
    assert "\n" not in str(refusal.value)
    assert client(hub_client.commit_of_base, name, None) == base.refs["main"]


def test_a_gated_base_and_a_damaged_one_say_what_to_do(hub, clip_folder, client):
    content = files(Path(clip_folder))
    hub.add("user/gated-clip", content, gated=True)
    with pytest.raises(HubError, match="user/gated-clip is gated: ask for access on its page, then log in"):
        client(hub_client.commit_of_base, "user/gated-clip", None)
    hub.add("user/bad-clip", {**content, "model.safetensors": b"\xff" + content["model.safetensors"][1:]})
    with pytest.raises(
        OSError, match=r"its weights are damaged .* hf cache rm model/user/bad-clip, then load it again"
    ):
        client(hub_client.commit_of_base, "user/bad-clip", None)


def test_a_base_on_the_hub_without_safetensors_and_one_of_pointers_say_what_to_do(hub, clip_folder, client):
    content = files(Path(clip_folder))
    weights = content.pop("model.safetensors")
    hub.add("user/pickled-clip", {**content, "pytorch_model.bin": weights, "sub/model.safetensors": weights})
    with pytest.raises(
        OSError, match=r"user/pickled-clip: it has no weights in safetensors.*; pytorch_model\.bin may run"
    ):
        client(hub_client.commit_of_base, "user/pickled-clip", None)
    for number, name in enumerate(["tokenizer.json", "model.safetensors", "config.json"]):
        base = f"user/pointer-clip-{number}"
        hub.add(base, {**content, "model.safetensors": weights, name: POINTER})
        with pytest.raises(OSError, match=f"{base}: {name} is a Git LFS pointer in place of the file"):
            client(hub_client.commit_of_base, base, None)
    hub.add(
        "user/mute-clip", {name: data for name, data in files(Path(clip_folder)).items() if "tokenizer" not in name}
    )
    with pytest.raises(OSError, match="user/mute-clip: it lacks the files of its tokenizer"):
        client(hub_client.commit_of_base, "user/mute-clip", None)


def test_a_base_in_a_subfolder_is_found_again_by_its_adapter(hub, clip_folder, other_clip_folder, client, tmp_path):
    content = {f"towers/clip/{name}": data for name, data in files(Path(clip_folder)).items()}
    base = hub.add("user/many-clips", {**files(Path(other_clip_folder)), **content})
    pinned = base.refs["v1"] = base.refs["main"]
    base.commit({name: None for name in content})
    place = {"revision": "v1", "subfolder": "towers/clip"}
    made = client(hub_client.edit_of_a_subfolder, "user/many-clips", str(tmp_path / "adapter"), **place)
    assert made["config"] == [pinned, "towers/clip"]
    assert made["bases"] == [[pinned, "towers/clip"]] * 2
    with pytest.raises(HubError, match="user/many-clips has no revision 'v9'"):
        client(hub_client.edit_of_a_subfolder, "user/many-clips", str(tmp_path / "adapter"), revision="v9")
    with pytest.raises(OSError, match=r"user/many-clips: no such CLIP|has no towers/clip/config\.json"):
        client(hub_client.edit_of_a_subfolder, "user/many-clips", str(tmp_path / "adapter"), subfolder="towers/clip")


# From a model on the Hub to the same scores in another process

SCORES = """
import json, sys
sys.path.insert(0, sys.argv[2])
from tests.support.images import COLOURS, coloured
from hf_unlearn import ForgetAdapter
adapted = ForgetAdapter.from_pretrained(sys.argv[1]).load_base(device="cpu")
scores = adapted.classify(list(coloured(1, seed=2)), list(COLOURS))
print(json.dumps({"revision": adapted.model.revision, "scores": scores.tolist()}))
"""


def test_another_process_pulls_it_loads_its_base_at_the_pinned_commit_and_scores_alike(
    hub, client, clip_folder, other_clip_folder, tmp_path
):
    base = hub.add("user/tiny-clip", files(Path(clip_folder)))
    pinned = base.refs["main"]
    trained = client(hub_client.train, "user/tiny-clip", "user/less-red", token=OWNER)
    assert trained["revision"] == pinned
    front = front_matter(hub.repos["user/less-red"].tree()["README.md"].decode())
    assert (front["base_model"], front["base_model_relation"]) == ("user/tiny-clip", "adapter")
    assert client(hub_client.find, "user/tiny-clip") == ["user/less-red"]
    base.refs["v1"] = pinned
    base.commit(files(Path(other_clip_folder)))  # the base moves on: another model under the same name
    assert client(hub_client.commit_of_base, "user/tiny-clip", "v1") == pinned
    assert client(hub_client.commit_of_base, "user/tiny-clip", None) == base.refs["main"]
    with pytest.raises(HubError, match="user/tiny-clip has no revision 'v9'"):
        client(hub_client.commit_of_base, "user/tiny-clip", "v9")
    fresh_home = environment(hub.endpoint, tmp_path / "home")
    command = [sys.executable, "-c", SCORES, "user/less-red", str(Path(__file__).parents[2])]
    for offline in ("0", "1"):
        hub.requests.clear()
        env = fresh_home | own_path() | {"HF_HUB_OFFLINE": offline}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        there = json.loads(done.stdout.splitlines()[-1])
        assert there["revision"] == pinned
        torch.testing.assert_close(torch.tensor(there["scores"]), torch.tensor(trained["scores"]))
    assert hub.requests == []  # the second time, offline
    assert len(COLOURS) == len(there["scores"][0])


def test_a_token_that_was_copied_badly_is_told(adapters, client):
    with pytest.raises(HubError, match="token has letters that no token has"):
        client(hub_client.push, str(adapters[0]), "user/new", token="hf_\u00fcmlaut")


LOADED = """
import sys
from hf_unlearn.cli.main import main
try:
    main()
finally:
    print([name for name in ("torch", "transformers", "matplotlib") if name in sys.modules], file=sys.stderr)
"""


def test_push_list_info_and_pull_load_neither_torch_nor_matplotlib(hub, adapters, tmp_path):
    env = environment(hub.endpoint, tmp_path / "home") | own_path() | {"HF_TOKEN": OWNER}
    commands = (
        ["push", adapters[0], "user/four-less"], ["list"], ["info", "user/four-less"],
        ["pull", "user/four-less", tmp_path / "pulled"],
    )  # fmt: skip
    for words in commands:
        command = [sys.executable, "-c", LOADED, *map(str, words)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "[]\n")
    for name in FILES:
        if (adapters[0] / name).exists() and name != "README.md":
            assert (tmp_path / "pulled" / name).read_bytes() == (adapters[0] / name).read_bytes()
