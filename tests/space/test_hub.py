"""The Space and the Hub: a visitor's log-in and push, models and adapters looked up, all over HTTP on loopback."""

import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from safetensors.torch import load, save

from hf_unlearn import ClipBlackBox, unlearn
from hf_unlearn.adapters.storage import CONTEXT, EDIT, FILES
from space.services.downloads import zip_files
from tests.support import hub_login
from tests.support.browser import browsing, expect, in_chromium, serving
from tests.support.hub_client import environment
from tests.support.hub_server import TOKENS, Hub
from tests.support.images import COLOURS, coloured
from tests.support.open_clip import FIXTURES, write_open_clip

MODEL, ADAPTER = "user/clip", "user/no-red"


@pytest.fixture(scope="module")
def hub(clip, clip_folder):
    with Hub() as server:
        files = {path.name: path.read_bytes() for path in Path(clip_folder).iterdir()}
        assert b'"model_max_length": 77' in files["tokenizer_config.json"]
        boundless = files["tokenizer_config.json"].replace(
            b'"model_max_length": 77', b'"model_max_length": %d' % 10**30
        )
        model = server.add(MODEL, files | {"tokenizer_config.json": boundless})  # as transformers writes "no limit"
        made = unlearn(clip, coloured(4), forget=["red"], max_queries=20, shots=2, progress=False).adapter
        config = replace(made.config, base_model=MODEL, base_revision=model.refs["main"])
        server.add(ADAPTER, replace(made, config=config, report=None).stored().files())
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Everything that the app writes is in here, what it prints too."""
    return tmp_path_factory.mktemp("space")


@pytest.fixture(scope="module")
def address(hub, home):
    settings = {**environment(hub.endpoint, home / "hf"), **hub_login.settings(hub.endpoint)}
    settings["HF_UNLEARN_CACHE"] = str(home / "cache")
    for name in ("TMPDIR", "GRADIO_TEMP_DIR"):
        settings[name] = str(home / "tmp")
    os.mkdir(home / "tmp")
    with serving(home / "root", home / "log", **settings) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def client(address) -> Client:
    return Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def classify(client, tmp_path_factory):
    picture = tmp_path_factory.mktemp("picture") / "red.png"
    coloured(1)[0].save(picture)

    def ask(model: str = "embedded", adapter: str = "") -> tuple[list[float], str]:
        image, labels = handle_file(str(picture)), "\n".join(COLOURS)
        found = client.predict(image, labels, adapter, model, True, api_name="/classify")
        return sorted((found["after"] or found["before"]).values()), found["message"]

    return ask


def test_a_model_and_an_adapter_of_the_hub_are_fetched_and_used(hub, clip, classify):
    images, names = clip.add_images(coloured(1).select([0])), list(COLOURS)
    plain, _ = classify(MODEL)
    assert plain == pytest.approx(sorted(clip.zero_shot(images, names)[0].exp().tolist()), abs=1e-5)
    adapted, message = classify(adapter=ADAPTER)
    assert adapted != pytest.approx(plain, abs=1e-5)
    assert "The adapter is in effect" in message
    assert not [headers for _, _, headers in hub.requests if "authorization" in map(str.lower, headers)]


def within(hub: Hub, place: str, revision: str) -> str:
    """The adapter, with its base in a subfolder of a repository; its id."""
    files = hub.repos[ADAPTER].tree()
    config = json.loads(files["config.json"])
    config |= {"base_model": "user/towers", "base_revision": revision, "base_subfolder": place}
    name = f"user/no-red-{place.replace('/', '-')}"
    card = files["README.md"].replace(MODEL.encode(), b"user/towers")  # else the Hub lists it for another base
    hub.add(name, {**files, "config.json": json.dumps(config).encode(), "README.md": card})
    return name


def in_two_parts(files: dict[str, bytes]) -> dict[str, bytes]:
    """A checkpoint's files with its weights in two, as those of large ones are."""
    tensors = sorted(load(files["model.safetensors"]).items())
    parts = {"model-1.safetensors": dict(tensors[::2]), "model-2.safetensors": dict(tensors[1::2])}
    places = {key: name for name, part in parts.items() for key in part}
    index = json.dumps({"metadata": {}, "weight_map": places}).encode()
    whole = {name: content for name, content in files.items() if name != "model.safetensors"}
    whole |= {name: save(part, {"format": "pt"}) for name, part in parts.items()}
    return {**whole, "model.safetensors.index.json": index}


def test_an_adapter_whose_base_is_in_a_subfolder_is_used_with_that_base(hub, clip_folder, classify):
    files = in_two_parts({path.name: path.read_bytes() for path in Path(clip_folder).iterdir()})
    towers = hub.add("user/towers", {
        **{f"towers/clip/{name}": content for name, content in files.items()},
        "towers/huge/config.json": files["config.json"], "towers/huge/model.safetensors": header(501_000_000) + LARGE,
        "config.json": files["config.json"], "model.safetensors": LARGE,
    })  # fmt: skip
    pinned = towers.refs["main"]
    towers.commit({name: None for name in towers.tree()})
    sent = hub.sent
    for place, words in {
        "towers/none": "user/towers, subfolder towers/none has no config.json",
        "towers/huge": "user/towers, subfolder towers/huge has 501 million parameters",
    }.items():
        with pytest.raises(AppError, match=words):
            classify(adapter=within(hub, place, pinned))
    assert hub.sent - sent < len(LARGE) / 4
    found, message = classify(adapter=within(hub, "towers/clip", pinned))
    assert "The adapter is in effect" in message
    assert found == pytest.approx(classify(adapter=ADAPTER)[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_model_in_the_format_of_open_clip_is_fetched_and_used(hub, classify, tmp_path, kind):
    folder = write_open_clip(kind, tmp_path / kind)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.add(f"user/open-{kind}", {**files, "config.json": b'{"architecture": "of timm"}', "other.bin": bytes(100)})
    found, _ = classify(f"user/open-{kind}")
    model, names = ClipBlackBox(str(folder), device="cpu"), list(COLOURS)
    scores = model.zero_shot(model.add_images(coloured(1).select([0])), names)[0]
    assert found == pytest.approx(sorted(scores.exp().tolist()), abs=1e-5)
    assert not [path for _, path, _ in hub.requests if path.endswith("other.bin")]


def header(*shape: object) -> bytes:
    """The start of a safetensors file with one tensor of that shape."""
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}
    text = json.dumps({"weight": tensor}).encode()
    return struct.pack("<Q", len(text)) + text


CONFIG = {"config.json": b'{"model_type": "clip"}'}
LARGE = bytes(4 * 2**20)
SMALL = FIXTURES / "clip" / "open_clip_model.safetensors"


def described(parts: dict, **files: bytes) -> dict[str, bytes]:
    """A repository in open_clip's format; the parts of the config are `model`, `vision` and `text`."""
    whole = json.loads((FIXTURES / "clip" / "open_clip_config.json").read_text())
    model = whole["model_cfg"] | parts.get("model", {})
    model |= {f"{part}_cfg": model[f"{part}_cfg"] | parts.get(part, {}) for part in ("vision", "text")}
    weights = {"open_clip_model.safetensors": LARGE} if not files else {}
    return {"open_clip_config.json": json.dumps(whole | {"model_cfg": model}).encode(), **weights, **files}


HOSTILE = {
    "user/rn50": (described({"vision": {"layers": [3, 4, 6, 3]}}), "image tower is a ResNet; expected a ViT"),
    "user/coca": (described({"model": {"multimodal_cfg": {"layers": 12}}}), "CoCa decoder"),
    "user/bert": (described({"text": {"hf_model_name": "roberta-base"}}), "Hugging Face text tower"),
    "user/convnext": (described({"vision": {"timm_model_name": "convnext_base"}}), "timm image tower"),
    "user/open-pickle": (described({}, **{"open_clip_pytorch_model.bin": LARGE}), "no weights as safetensors"),
    "user/open-huge": (described({}, **{"open_clip_model.safetensors": header(501_000_000) + LARGE}), "501 million"),
    "user/open-deep": (described({"text": {"layers": 10**6}}, **{"open_clip_model.safetensors": header(9) + LARGE}),
                       "config says 1000000"),
    "user/open-text": (described({"text": {"layers": "1000000"}}, **{"open_clip_model.safetensors": header(9) + LARGE}),
                       "config says 1000000"),
    "user/open-odd": (described({"vision": {"width": "9" * 30}}), "describes no CLIP|files fit no CLIP"),
    "user/open-mute": (described({}, **{"open_clip_model.safetensors": SMALL.read_bytes() + LARGE}),
                       "files of its tokenizer"),
    "user/open-list": ({"open_clip_config.json": b"[]", "open_clip_model.safetensors": LARGE}, "json is damaged"),
    "user/open-void": ({"open_clip_config.json": b"{}", "open_clip_model.safetensors": LARGE}, "describes no CLIP"),
    "user/open-code": (described({"model": {"auto_map": {"A": "x.M"}}}), "brings code"),
    "user/code": ({"config.json": b'{"model_type": "clip", "auto_map": {"AutoModel": "x.M"}}', "x.py": b""},
                  "brings code"),
    "user/pickle": ({**CONFIG, "pytorch_model.bin": LARGE}, "no weights as safetensors, and this Space loads no"),
    "user/huge": ({**CONFIG, "model.safetensors": header(501_000_000) + LARGE}, "501 million parameters; .* up to 500"),
    "user/damaged": ({**CONFIG, "model.safetensors": struct.pack("<Q", 2**40) + LARGE}, "safetensors file is damaged"),
    "user/llama": ({"config.json": b'{"model_type": "llama"}', "model.safetensors": LARGE}, "of type 'llama'"),
    "user/bulky": ({**CONFIG, "tokenizer.json": bytes(65 * 2**20)}, "tokenizer.json is larger than 64 MB"),
    "user/nothing": ({"model.safetensors": LARGE}, "has no config.json"),
    "user/words": ({"config.json": b"[" * 100_000, "model.safetensors": LARGE}, "config.json is damaged"),
    "user/deep": ({"config.json": b'{"model_type": "clip", "x": ' + b"[" * 900 + b"]" * 900 + b"}",
                   "model.safetensors": header(-9)}, "files fit no CLIP|damaged"),
    "user/endless": ({"config.json": b'{"model_type": "clip", "vision_config": {"image_size": NaN}}'},
                     "asks for image_size nan; at most 1,024"),
    "user/odd": ({**CONFIG, "model.safetensors": header(2, "x") + LARGE}, "safetensors file is damaged"),
    "user/list": ({**CONFIG, "model.safetensors.index.json": b"[]"}, "index.json is damaged"),
    "user/astray": ({**CONFIG, "model.safetensors.index.json": b'{"weight_map": {"a": "x/../../b", "b": 1}}'},
                    "weights are not beside its config"),
    "user/padded": ({**CONFIG, "model.safetensors": header(9) + 20 * LARGE}, "larger than its header says"),
    "user/none": (None, "does not exist|not found|no such"),
    "../../etc/passwd": (None, "no model id"),
    "http://127.0.0.1/x": (None, "no model id"),
}  # fmt: skip


def test_a_strangers_model_is_refused_in_words_and_nothing_large_is_fetched(hub, home, classify):
    hub.add("user/gated", {**CONFIG, "model.safetensors": LARGE}, gated=True)
    hub.add("user/private", {**CONFIG, "model.safetensors": LARGE}, private=True)
    said = {"user/gated": "gated|access", "user/private": "does not exist|not found|private"}
    for name, (content, words) in HOSTILE.items():
        said[name] = words
        if content is not None:
            hub.add(name, content)
    sent = hub.sent
    for name, words in said.items():
        with pytest.raises(AppError, match=f"(?i){words}") as refused:
            classify(name)
        assert "hf auth login" not in str(refused.value)
    assert hub.sent - sent < len(LARGE) / 4
    kept = [path for path in home.rglob("*") if path.is_file() and path.parent.name != "vocabulary"]
    assert not [path for path in kept if path.stat().st_size > len(LARGE) / 4]
    assert classify("embedded")[0]


def test_a_data_set_of_the_hub_is_read_within_bounds_and_nothing_of_it_stays(hub, home, client, tmp_path):
    datasets = pytest.importorskip("datasets")
    images = coloured(6)
    table = {"picture": list(images), "kind": list(images.labels)}
    kinds = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(COLOURS))})
    datasets.Dataset.from_dict(table, features=kinds).to_parquet(tmp_path / "train.parquet")
    hub.add("datasets/user/colours", {"train.parquet": (tmp_path / "train.parquet").read_bytes()})
    files = {path.rpartition("/")[2]: content for path, content in pictures(images, tmp_path).items()}
    lines = [json.dumps({"file_name": f"{i}.png", "kind": list(COLOURS)[k]}) for i, k in enumerate(images.labels)]
    hub.add("datasets/user/files", {**files, "metadata.jsonl": "\n".join(lines).encode()})
    hub.add("datasets/user/code", {"code.py": b"raise SystemExit", "data.bin": bytes(100)})

    def forget(dataset: str) -> dict:
        return client.predict("red", "", "embedded", "dataset", 50, "normal", dataset, api_name="/forget")

    for name, kept in [
        ("user/colours", ["green", "blue", "grey"]),
        ("user/files?label=kind", ["blue", "green", "grey"]),
    ]:
        made = forget(name)
        assert (made["forget"], made["retain"]) == (["red"], kept)
        assert made["figures"]["H"] >= 0
    assert not [path for path in home.rglob("*") if path.suffix in (".parquet", ".arrow") or "datasets--" in str(path)]
    for name, words in [
        ("user/none", "user/none"), ("user/code", "can't be read"), ("../../etc", "is no data set's id"),
        ("", "no data set yet"), ("user/files", r"no column of class names in image, kind; name one: .*label=COLUMN"),
    ]:  # fmt: skip
        with pytest.raises(AppError, match=words):
            forget(name)


@in_chromium
def test_a_visitor_brings_images_logs_in_and_pushes_to_the_own_account(hub, home, address, chromium, tmp_path):
    images = coloured(6)
    (tmp_path / "own.zip").write_bytes(zip_files(pictures(images, tmp_path)))
    page = chromium.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("My images").check()
    page.locator("input[type=file][accept='.zip']").set_input_files(tmp_path / "own.zip")
    page.get_by_label("Ticked names").fill("red")
    page.get_by_label("What must not suffer").fill("")
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("number input for Budget").fill("50")
    page.get_by_role("button", name="Make it forget").click()
    expect(page.get_by_text("Done:")).to_be_visible()
    page.get_by_role("button", name="Push it to your account").click()
    page.get_by_role("button", name="Push", exact=True).click()
    expect(page.get_by_text("Log in first")).to_be_visible()

    page.get_by_role("button", name="Sign in with Hugging Face").click()
    page.get_by_role("link", name="Authorize as user").click()
    expect(page.get_by_role("button", name="Logout (user)")).to_be_visible()
    expect(page.get_by_text("made before this page was loaded")).to_be_visible()
    page.get_by_role("button", name="Details").click()
    figures = page.get_by_role("region", name="Figures", exact=True)
    expect(figures.get_by_role("rowheader", name="after")).to_be_visible()
    page.get_by_label("Name of the new repository").fill("mine")
    page.get_by_role("button", name="Push", exact=True).click()
    expect(page.get_by_role("link", name="user/mine")).to_be_visible()
    assert hub.repos["user/mine"].private
    assert set(hub.repos["user/mine"].tree()) == {*FILES, ".gitattributes"} - {EDIT}
    page.get_by_label("Name of the new repository").fill("other/mine")
    page.get_by_role("button", name="Push", exact=True).click()
    expect(page.get_by_text("the Hub refused (403): you may not write there")).to_be_visible()
    assert "other/mine" not in hub.repos

    page.get_by_label("Edit: names").check()
    page.get_by_label("Names only").check()
    page.get_by_label("Ticked names").fill("beer mug")
    page.get_by_role("button", name="Make it forget").click()
    expect(page.get_by_text("Done: solved in closed form")).to_be_visible()
    expect(page.get_by_label("Name of the new repository")).to_have_value("no-beer-mug")
    page.get_by_role("button", name="Push", exact=True).click()
    expect(page.get_by_role("link", name="user/no-beer-mug")).to_be_visible()
    assert set(hub.repos["user/no-beer-mug"].tree()) == {*FILES, ".gitattributes"} - {CONTEXT}
    assert any(token in str(headers) for _, _, headers in hub.requests for token in TOKENS)
    written = [path for path in home.rglob("*") if path.is_file()]
    assert home / "log" in written
    assert not [path for path in written for token in TOKENS if token.encode() in path.read_bytes()]


@in_chromium
def test_the_words_of_the_first_screen_survive_a_log_in_and_a_log_out(address, chromium):
    page = chromium.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{address}/?forget=gun,salt+%26+pepper,knife%3Fkeep%3Da&keep=pen&labels=cup,key&image=bomb-twemoji")
    wanted = ["gun✕", "salt & pepper✕", "knife?keep=a✕"]
    expect(page.locator("#forget-chips li")).to_have_text(wanted)
    page.get_by_role("button", name="Get the model").click()
    page.locator("#tab-now").get_by_role("button", name="Push it to your account").click()
    page.locator("#tab-now").get_by_role("button", name="Sign in with Hugging Face").click()
    page.get_by_role("link", name="Authorize as other").click()
    page.wait_for_url("**&keep=pen&labels=cup,key&image=bomb-twemoji")
    expect(page.locator("#forget-chips li")).to_have_text(wanted)
    expect(page.locator(".chips li", has_text="cup")).to_be_visible()
    page.get_by_role("button", name="Get the model").click()
    with page.expect_request(lambda request: "/logout?" in request.url):
        page.locator("#tab-now").get_by_role("button", name="Logout (other)").click()
    page.wait_for_url("**&keep=pen&labels=cup,key&image=bomb-twemoji")
    expect(page.locator("#forget-chips li")).to_have_text(wanted)
    page.close()


@in_chromium
def test_a_visitor_finds_the_hubs_adapters_for_a_base(hub, address, chromium):
    page = chromium.new_page()
    page.set_default_timeout(180_000)
    page.route("**/queue/join*", lambda route: None)  # held back
    page.goto(f"{address}/?model={MODEL}")
    page.get_by_role("tab", name="Try an adapter").click()
    ask = page.get_by_role("button", name="Ask the Hub")
    expect(ask).to_be_disabled()  # the link's base is not there yet
    page.unroute("**/queue/join*")  # what was held back goes on
    expect(page.get_by_text("Drop an image or pick a drawing")).to_be_visible()  # the last of it
    assert page.url.endswith(f"?model={MODEL}")  # the first screen does not write its link over it
    ask.click()
    expect(page.get_by_text("The Hub lists 1 adapter for")).to_be_visible()
    page.get_by_label("Adapter, or an adapter's id").click()
    page.get_by_role("option", name=f"{ADAPTER} (on the Hub)").click()
    expect(page.get_by_label("Labels")).to_have_value("red\ngreen\nblue\ngrey")
    page.get_by_role("tab", name="Library").click()
    page.get_by_label("On the Hub, for the base model").fill(MODEL)
    page.get_by_role("button", name="Look on the Hub").click()
    expect(page.locator(".card", has_text=ADAPTER)).to_contain_text("Forgets 1 of 4: red")


def pictures(images, folder: Path) -> dict[str, bytes]:
    """As a visitor's zip holds them: path in the zip -> PNG."""
    found = {}
    for number in range(len(images)):
        images[number].save(folder / "one.png")
        found[f"things/{images.names[images.labels[number]]}/{number}.png"] = (folder / "one.png").read_bytes()
    return found
