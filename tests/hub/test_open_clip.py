"""Repositories in open_clip's format: fetched at a commit, found again by an adapter, refused before the weights."""

import json

import pytest
import torch
from safetensors.torch import load, load_file

from hf_unlearn.errors import HfUnlearnError, HubError
from tests.support import hub_client
from tests.support.hub_server import RESET
from tests.support.open_clip import change_config, write_open_clip

TIMM = {"architecture": "vit_base_patch16_siglip_224", "num_classes": 0, "pretrained_cfg": {"tag": "webli"}}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: write_open_clip(kind, tmp_path_factory.mktemp(kind) / kind) for kind in ("clip", "siglip")}


def content(folder, below: str = "") -> dict[str, bytes]:
    return {f"{below}{path.name}": path.read_bytes() for path in folder.iterdir()}


def fetched(hub) -> set[str]:
    """The names of the files whose content went over the wire."""
    paths = {path.split("/")[-1] for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path}
    return paths | {"weights" for method, path, _ in hub.requests if method == "GET" and path.startswith("/storage")}


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_repository_is_found_again_by_its_adapter_and_converted_at_a_revision(hub, client, folders, kind, tmp_path):
    other = folders["siglip" if kind == "clip" else "clip"]
    repo = hub.add(f"user/many-{kind}", {**content(other), **content(folders[kind], "towers/one/")})
    pinned = repo.refs["v1"] = repo.refs["main"]
    repo.commit({name: None for name in content(folders[kind], "towers/one/")})
    place = {"revision": "v1", "subfolder": "towers/one"}
    made = client(hub_client.edit_of_a_subfolder, f"user/many-{kind}", str(tmp_path / "adapter"), **place)
    assert made["config"] == [pinned, "towers/one"]
    assert made["bases"] == [[pinned, "towers/one"]] * 2
    options = ["--revision", "v1", "--subfolder", "towers/one"]
    code, _, errors = client(hub_client.command, "convert", f"user/many-{kind}", tmp_path / "made", *options)
    assert code == 0, errors
    assert json.loads((tmp_path / "made" / "config.json").read_text())["model_type"] == kind
    code, _, errors = client(hub_client.command, "convert", f"user/many-{kind}", tmp_path / "none", *options[2:])
    assert (code, "has no config.json" in errors) == (2, True)


def test_a_repository_whose_config_is_timms_alone_loads_and_loads_again_offline(hub, client, folders, tmp_path):
    """As `timm/vit_base_patch16_clip_224.openai`, which holds the image tower in timm's format too."""
    repo = hub.add("user/timms", {**content(folders["siglip"]), "config.json": json.dumps(TIMM).encode()})
    assert client(hub_client.commit_of_base, "user/timms", None) == repo.refs["main"]
    hub.requests.clear()
    assert client(hub_client.commit_of_base, "user/timms", repo.refs["main"]) == repo.refs["main"]
    assert fetched(hub) == set()


REFUSED = [
    ("clip", "text_cfg", {"hf_model_name": "roberta-base"}, "Hugging Face text tower"),
    ("clip", "vision_cfg", {"layers": [3, 4, 6, 3]}, "ResNet"),
    ("clip", "model", {"multimodal_cfg": {}}, "CoCa decoder"),
    ("siglip", "preprocess", {"resize_mode": "longest"}, "longest"),
]


@pytest.mark.parametrize(("kind", "part", "values", "said"), REFUSED)
def test_what_can_not_be_converted_is_refused_by_its_config_alone(hub, client, kind, part, values, said, tmp_path):
    folder = write_open_clip(kind, tmp_path / kind)
    change_config(folder, part, **values)
    name = f"user/no-{'-'.join(values)}"
    hub.add(name, content(folder))
    with pytest.raises(HfUnlearnError, match=f"^{name}: .*{said}") as refused:
        client(hub_client.commit_of_base, name, None)
    assert "\n" not in str(refused.value)
    assert fetched(hub) == {"open_clip_config.json"}


def test_a_repository_without_a_tokenizer_is_refused_before_its_weights(hub, client, folders):
    files = {name: data for name, data in content(folders["siglip"]).items() if "token" not in name}
    hub.add("user/mute", files)
    with pytest.raises(OSError, match=r"and tokenizer\.json\); .*, which is that of 'timm/ViT-B-16-SigLIP'"):
        client(hub_client.commit_of_base, "user/mute", None)
    assert fetched(hub) == {"open_clip_config.json"}


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            "open_clip_pytorch_model.bin",
            r"open_clip_pytorch_model\.bin may run code when it is loaded",
        ),
        ("epoch_32.pt", r"epoch_32\.pt may run code"),
        ("best.safetensors", r"best\.safetensors may be them: rename it"),
        ("notes.txt", "get the whole checkpoint"),
    ],
)
def test_weights_in_other_files_are_named_and_stay_on_the_hub(hub, client, folders, there, said):
    files = content(folders["clip"])
    weights = files.pop("open_clip_model.safetensors")
    hub.add(f"user/without-{there}", {**files, there: weights})
    with pytest.raises(OSError, match=f"an open_clip model that lacks open_clip_model.safetensors; {said}"):
        client(hub_client.commit_of_base, f"user/without-{there}", None)
    assert not fetched(hub) & {there, "weights"}


@pytest.mark.parametrize("name", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_pointer_of_git_lfs_on_the_hub_is_named(hub, client, folders, name):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 598641023\n"
    hub.add(f"user/pointer-{name}", content(folders["clip"]) | {name: pointer})
    with pytest.raises(OSError, match=f"^user/pointer-{name}: {name} is a Git LFS pointer in place of the file"):
        client(hub_client.commit_of_base, f"user/pointer-{name}", None)


def test_the_message_about_a_pickle_says_how_to_convert_it(hub, client, folders, tmp_path, monkeypatch):
    files = content(folders["clip"])
    state = load(files.pop("open_clip_model.safetensors"))
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    hub.add("user/pickled", files)
    hub.repos["user/pickled"].commit({"open_clip_pytorch_model.bin": b"pickle"})
    with pytest.raises(OSError, match="convert it beside its config with") as refused:
        client(hub_client.commit_of_base, "user/pickled", None)
    monkeypatch.chdir(tmp_path)
    exec("import safetensors.torch, torch\n" + str(refused.value).partition("config with ")[2], {})
    found = load_file("open_clip_model.safetensors")
    assert all(torch.equal(found[key], state[key]) for key in state)


@pytest.mark.parametrize(
    ("method", "path", "act", "said"),
    [
        ("HEAD", "/resolve/.*/open_clip_config.json", RESET, "no connection to the Hub, or it broke"),
        ("GET", "/resolve/.*/open_clip_config.json", 500, r"the Hub has trouble \(status 500\)"),
        ("HEAD", "/resolve/.*/tokenizer.json", RESET, "no connection to the Hub, or it broke"),
        ("HEAD", "/resolve/.*safetensors", RESET, "no connection to the Hub, or it broke"),
        ("GET", "/storage/", 403, r"the Hub refused \(403\)"),
    ],
)
def test_a_fault_of_the_network_is_no_missing_file(hub, client, folders, request, method, path, act, said):
    name = f"user/fault-{abs(hash(request.node.name))}"  # nothing of it is in the cache
    repo = hub.add(name, content(folders["clip"]))
    hub.fail(method, path, act)
    with pytest.raises(HubError, match=f"^{name}: {said}"):
        client(hub_client.commit_of_base, name, None)
    assert client(hub_client.commit_of_base, name, None) == repo.refs["main"]
