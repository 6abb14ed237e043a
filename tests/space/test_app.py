"""The real app on a loopback port, driven over HTTP by the real client; and its handlers without Gradio."""

import asyncio
import io
import json
import subprocess
import sys
import zipfile
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from hf_unlearn import ClipBlackBox, ForgetAdapter, unlearn
from hf_unlearn.demo import emoji_tasks as demo
from space.inputs.limits import parse_labels, plain_text
from space.inputs.run_request import RunRequest
from space.services.adapter_store import AdapterStore
from space.services.examples import example_images
from space.services.instant_edit import InstantEdits
from space.services.model_cache import ModelCache
from space.services.recipe import EXAMPLE, Recipe
from space.ui import try_tab
from space.ui.forget_now_tab import ALL, open_link
from space.views.adapter_facts import describe_adapter
from space.views.library import name_of
from tests.support.gradio_http import Refusal, Stranger, launched
from tests.support.images import coloured

REPOSITORY = Path(__file__).parents[2]
KEY = "runs/colours/adapter"
BASE_ANY = "embedded"  # an adapter says its own


@pytest.fixture(scope="module")
def store(clip, clip_folder, tmp_path_factory) -> AdapterStore:
    root = tmp_path_factory.mktemp("root")
    result = unlearn(clip, coloured(4), forget=["red"], max_queries=30, method="lcs-cma", shots=2, progress=False)
    result.adapter.save_pretrained(root / KEY)
    return AdapterStore(root, ModelCache({result.adapter.config.base_model: clip_folder, "embedded": "embedded"}))


@pytest.fixture(scope="module")
def client(store):
    from space.ui.app import build

    with launched(build(store.root, store.models.bases)) as address:
        yield Client(address, verbose=False, analytics_enabled=False)


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    coloured(1)[0].save(path)
    return str(path)


def ask(client, image, adapter=KEY, labels="red\ngreen\nblue\ngrey", enabled=True):
    answer = client.predict(handle_file(image), labels, adapter, BASE_ANY, enabled, api_name="/classify")
    return answer["before"], answer["after"], answer["message"]


def test_classify_gives_scores_before_and_after_that_equal_the_library(client, store, picture):
    before, after, message = ask(client, picture)
    labels = ["red", "green", "blue", "grey"]
    assert list(before) == list(after) == labels
    adapted = ForgetAdapter.from_pretrained(store.root / KEY).load_base(next(iter(store.models.bases.values())))
    image = [Image.open(picture)]
    assert [after[key] for key in labels] == pytest.approx(adapted.classify(image, labels)[0].tolist(), abs=1e-6)
    with adapted.disabled():
        assert [before[key] for key in labels] == pytest.approx(adapted.classify(image, labels)[0].tolist(), abs=1e-6)
    assert before != after
    assert message.startswith("The adapter is in effect. The plain model ")
    assert "suppresses 1 name: red." in message
    assert not set("*&") & set(message)
    assert "not erasure" in message


def test_switched_off_both_sides_are_the_plain_model(client, picture):
    before, after, message = ask(client, picture, enabled=False)
    assert before == after == ask(client, picture, enabled="false")[1] == ask(client, picture)[0]
    assert "switched off" in message


def test_the_client_sees_a_documented_endpoint_and_the_saved_adapters(client, store):
    endpoint = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    offered = {"classify", "adapters", "forget", "forget_now", "neighbours", "names", "download", "export"}
    assert set(endpoint) == {f"/{name}" for name in offered}
    for name, described in endpoint.items():
        assert all(p["parameter_has_default"] for p in described["parameters"][1:]), name
    parameters = {p["parameter_name"]: p["python_type"]["type"] for p in endpoint["/classify"]["parameters"]}
    assert list(parameters) == ["image", "labels", "adapter", "model", "enabled"]
    assert parameters["adapter"] == "str"
    assert "plain model" in endpoint["/classify"]["description"]
    base = next(iter(store.models.bases))
    assert client.predict(api_name="/adapters") == [
        {"adapter": KEY, "model": base, "forget": ["red"], "retain": ["green", "blue", "grey"]}
    ]


def test_an_agent_calls_classify_over_mcp(client, picture):
    mcp = pytest.importorskip("mcp")
    from mcp.client.streamable_http import streamablehttp_client

    async def call() -> tuple[dict[str, str], str]:
        async with (
            streamablehttp_client(f"{client.src.rstrip('/')}/gradio_api/mcp/") as (read, write, _),
            mcp.ClientSession(read, write) as session,
        ):
            await session.initialize()
            image = f"data:image/png;base64,{b64encode(Path(picture).read_bytes()).decode()}"
            asked = {"image": image, "labels": "red\ngreen", "adapter": KEY, "model": BASE_ANY, "enabled": True}
            answer = await session.call_tool("classify", asked)
            assert not answer.isError, answer
            tools = {tool.name: tool.description for tool in (await session.list_tools()).tools}
            return tools, answer.content[0].text

    described, said = asyncio.run(call())
    assert {"classify", "forget", "forget_now", "neighbours", "names", "download", "export", "adapters"} == {*described}
    assert "The adapter is in effect" in json.loads(said)["message"]
    assert "data: URL" in described["classify"]
    assert not any("upload_file_to_gradio" in words for words in described.values())


def test_an_agent_makes_an_edit_asks_what_goes_along_and_fetches_it(client, tmp_path):
    made = client.predict("beer mug", api_name="/forget_now")
    assert (made["forget"], made["keep"], made["model"]) == (["beer mug"], [], "embedded")
    assert [item["word"] for item in made["neighbours"]] == ["beer"]
    assert client.predict("beer mug", api_name="/neighbours") == made["neighbours"]
    assert made["figures"]["edit"]["wrong_on_forgotten"] == 1.0
    assert made["figures"]["edit"]["named_beside_4"] < made["figures"]["before"]["named_beside_4"]
    assert made["link"] == "?forget=beer+mug"
    assert "beer mug" in client.predict(api_name="/names")["pictured"]
    for endpoint, file in (("/download", "forget_edit.safetensors"), ("/export", "model.safetensors")):
        with zipfile.ZipFile(client.predict(made["adapter"], api_name=endpoint)) as archive:
            assert file in {Path(name).name for name in archive.namelist()}
    demo.plain(["beer mug"], "test")[0].convert("RGB").save(tmp_path / "mug.png")
    scores = client.predict(handle_file(tmp_path / "mug.png"), adapter=made["adapter"], api_name="/classify")
    assert scores["forgotten"] == ["beer mug"]
    assert scores["before"]["beer mug"] > 0.9 > 0.1 > scores["after"]["beer mug"]


def test_a_call_over_http_with_the_first_values_alone_gets_the_defaults_of_the_others(client, tmp_path):
    stranger = Stranger(client.src.rstrip("/"))
    for sent in (["beer mug"], ["beer mug", ""]):  # as the page's line of curl does
        (made,) = stranger.call(stranger.named("forget_now"), *sent)
        assert (made["forget"], made["keep"], made["model"]) == (["beer mug"], [], "embedded")
    coloured(1)[0].save(tmp_path / "red.png")
    (scores,) = stranger.call(stranger.named("classify"), stranger.upload(tmp_path / "red.png"))
    assert scores["after"] == {}
    with pytest.raises(Refusal, match="lacks a value"):
        stranger.call(stranger.named("forget_now"))
    with pytest.raises(Refusal, match="There is no image: send a file, or an address"):
        stranger.call(stranger.named("classify"), None)


def test_a_number_that_a_client_writes_as_text_is_read():
    assert Recipe.parse("gun", breadth="0.25", enabled="false") == Recipe(("gun",), breadth=0.25, enabled=False)
    assert RunRequest.parse("embedded", "gun", "", "names", "300").budget == 300
    for breadth in ("wide", "nan", "2"):
        with pytest.raises(ValueError, match=f"a breadth from 0 to 1, got {breadth}"):
            Recipe.parse("gun", breadth=breadth)


def test_an_adapter_of_the_library_is_downloaded_in_a_folder_of_the_name_that_its_card_gives(client, store, tmp_path):
    answer = httpx.get(f"{client.src.rstrip('/')}/adapters/{KEY}.zip", timeout=600)
    assert answer.headers["content-disposition"] == 'attachment; filename="colours.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    fetched = ForgetAdapter.from_pretrained(tmp_path / name_of(KEY))
    assert fetched.config == store.get(KEY).config
    for key in ("runs/nothing", "own/guess", "..%2F..%2Fetc%2Fpasswd", "%3Cb%3E"):
        missing = httpx.get(f"{client.src.rstrip('/')}/adapters/{key}.zip", timeout=600)
        assert (missing.status_code, missing.headers["content-type"]) == (404, "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"forget": " , "}, "no names to forget"), ({"forget": "gun", "breadth": 2}, "breadth from 0 to 1"),
        ({"forget": "gun", "model": "user/clip"}, "not 'user/clip'"), ({"forget": ["gun", 3]}, "as text"),
    ],
)  # fmt: skip
def test_an_instant_edit_that_makes_no_sense_is_refused_in_words(client, asked, words):
    with pytest.raises(AppError, match=words):
        client.predict(**asked, api_name="/forget_now")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("beer mug, guitar ,guitar,", ["beer mug", "guitar"]),
        ("washington, d.c.\n  beer   mug (to be forgotten)\n\nbeer mug", ["washington, d.c.", "beer mug"]),
        ("啤酒，葡萄酒、伏特加", ["啤酒", "葡萄酒", "伏特加"]),
        ("啤酒，葡萄酒\n伏特加，", ["啤酒", "葡萄酒", "伏特加"]),
        ("بندقية، سكين؛ قنبلة", ["بندقية", "سكين", "قنبلة"]),
        ("gun; knife；bomb", ["gun", "knife", "bomb"]),
        ("washington, d.c.; paris", ["washington, d.c.", "paris"]),
        ("gun\tknife\tbomb", ["gun", "knife", "bomb"]),
        ("gun\r\nknife\u2028bomb\x85sword", ["gun", "knife", "bomb", "sword"]),
        ("cafe\u0301, caf\u00e9", ["café"]),
        ("gun\u200b, \ufeffgun, \u200b", ["gun"]),
        ("gun\u037e knife", ["gun", "knife"]),  # a Greek question mark is a semicolon
        (" gun ,", ["gun"]),
    ],
)
def test_labels_are_read_whatever_separates_them_and_count_once(text, names):
    assert parse_labels(text) == names


@pytest.mark.parametrize("text", ["", " ,;、\n\t؛ ", "\u200b", "\u200b, \u00ad"])
def test_where_nothing_is_to_be_seen_there_is_no_label(text):
    with pytest.raises(ValueError, match="There are no labels"):
        parse_labels(text)


def test_names_written_twice_are_merged_with_a_word(client, picture):
    message = ask(client, picture, labels="red, green; cafe\u0301\tcaf\u00e9\nred")[2]
    assert "café: written more than once, counted once." in message
    assert "written more than once" not in ask(client, picture)[2]
    made = client.predict("absinthe；absinthe", "water", api_name="/forget")
    assert made["forget"] == ["absinthe"]
    assert "absinthe: written more than once, counted once." in made["note"]


def test_an_adapter_saved_while_the_app_runs_is_found_and_a_damaged_one_left_out(client, store, picture):
    adapter = ForgetAdapter.from_pretrained(store.root / KEY)
    late, damaged = store.root / "space" / "adapters" / "late", store.root / "runs" / "damaged"
    adapter.save_pretrained(late)
    adapter.save_pretrained(damaged)
    (damaged / "config.json").write_text("{")
    found, left_out = store.list_saved()
    assert set(found) == {KEY, "space/adapters/late"}
    assert len(left_out) == 1
    assert "damaged" in left_out[0]
    assert str(store.root) not in left_out[0]
    assert ask(client, picture, adapter="space/adapters/late")[1] == ask(client, picture)[1]
    with pytest.raises(AppError, match="not valid JSON"):
        ask(client, picture, adapter="runs/damaged")
    for folder in (late, damaged):
        (folder / "config.json").unlink()  # the app goes on without them


def test_labels_asked_about_again_get_the_same_scores_and_cost_no_text(store, clip):
    model = store.models.get("embedded")
    images, context = model.add_images(coloured(1)), 0.1 * torch.ones(1, 2, model.dim)
    for names in (["red", "green"], ["green", "red"]):
        ledger = replace(model.ledger)
        first = model.log_scores(context, images, names)
        asked = model.ledger.text_tokens - ledger.text_tokens
        assert torch.equal(model.log_scores(context, images, names), first)
        assert model.ledger.text_tokens - ledger.text_tokens == 2 * asked
        assert torch.equal(first, ClipBlackBox("embedded").log_scores(context, images, names))
    tower, model.model.text_model.encoder.layers = model.model.text_model.encoder.layers, None
    try:
        assert torch.equal(store.models.get("embedded").log_scores(context, images, names), first)
    finally:
        model.model.text_model.encoder.layers = tower


def test_an_adapter_for_a_base_that_nobody_else_has_is_refused(store):
    elsewhere = AdapterStore(store.root, ModelCache())
    with pytest.raises(ValueError, match="a folder on its maker's machine"):
        elsewhere.apply(elsewhere.get(KEY))
    known = store.get(KEY)
    inner = replace(known, config=replace(known.config, base_subfolder="clip"))  # not what the operator offers
    with pytest.raises(ValueError, match="a folder on its maker's machine"):
        store.apply(inner)
    pinned = replace(inner, config=replace(inner.config, base_model="user/clip", base_revision="a" * 40))
    closed = AdapterStore(store.root, ModelCache(store.models.bases, any_on_hub=False))
    with pytest.raises(ValueError, match=r"This Space offers .*, not 'user/clip', subfolder clip"):
        closed.apply(pinned)


def test_a_client_searches_for_a_context_by_names_only_and_uses_what_was_made(client, tmp_path):
    gone, kept = ["beer mug", "wine glass"], ["pizza", "rose", "bicycle", "house", "guitar"]
    made = client.predict(
        ", ".join(gone), ", ".join(kept), "embedded", "names", 60, "normal", "", "context", api_name="/forget"
    )  # fmt: skip
    assert made["kind"] == "context"
    assert made["neighbours"] == []
    assert made["forget"] == gone
    assert made["retain"] == kept
    assert set(made["landed"]) == set(gone)
    drawing = demo.plain(["beer mug"], "test")[0]
    drawing.convert("RGB").save(tmp_path / "mug.png")
    before, after, message = ask(client, str(tmp_path / "mug.png"), made["adapter"], "\n".join([*gone, *kept]))
    assert before["beer mug"] > after["beer mug"]
    assert "The adapter is in effect" in message


def test_a_client_gives_names_to_forget_and_nothing_else_and_uses_the_edit(client, tmp_path):
    gone = ["beer mug", "wine glass"]
    made = client.predict(", ".join(gone), api_name="/forget")
    assert (made["kind"], made["forget"], made["retain"]) == ("edit", gone, [])
    assert "closed form" in made["reason"]
    assert set(made["landed"]) == set(gone)
    assert made["figures"]["err_for"] > 0.9
    assert made["figures"]["short_list_4"] < 0.1
    words = {item["word"] for item in made["neighbours"]}
    assert {"beer", "wine"} <= words
    assert not words & set(gone)
    assert "also forgotten: " in made["note"]
    assert "image-to-image search still finds what is forgotten" in made["note"]
    demo.plain(["beer mug"], "test")[0].convert("RGB").save(tmp_path / "mug.png")
    labels = ["beer mug", "pizza", "rose", "bicycle", "house"]
    before, after, message = ask(client, str(tmp_path / "mug.png"), made["adapter"], "\n".join(labels))
    assert before["beer mug"] > 0.5
    assert after["beer mug"] < 0.1
    assert "Words nobody asked about: also forgotten: " in message
    assert "image-to-image search" in message


def test_names_without_a_drawing_are_forgotten_and_everything_else_is_judged(client):
    made = client.predict("absinthe", "water", "embedded", api_name="/forget")
    assert (made["forget"], made["retain"], made["landed"]) == (["absinthe"], ["water"], {})
    assert (made["figures"]["err_for"], made["figures"]["acc_mem"] > 0.9) == (None, True)
    assert "No drawing shows “absinthe”, “water”: they are not measured." in made["note"]
    assert made["neighbours"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"forget": ""}, "no names to forget"), ({"forget": "a", "keep": "a"}, "forgotten and kept"),
        ({"forget": "\n".join(map(str, range(201)))}, "at most 200"),
        ({"forget": "a " * 99}, "is too long: it takes 1.. tokens, and this model reads 77"),
        ({"forget": "a" * 201}, "at most 200"), ({"forget": "a", "model": "../../etc"}, "no model id"),
        ({"forget": "a", "method": "<b>"}, "no method '&lt;b&gt;'; choose edit, context"),
        ({"forget": "a", "images": "dataset", "method": "edit"}, "no data set yet"),
    ],
)  # fmt: skip
def test_an_edit_that_makes_no_sense_is_refused_in_words(client, asked, words):
    with pytest.raises(AppError, match=words):
        client.predict(**asked, api_name="/forget")


def test_a_visitor_of_the_page_downloads_the_edit_and_loads_it_with_the_library(client, tmp_path):
    visitor = Stranger(client.src.rstrip("/"))
    run = next(event["id"] for event in visitor.events["dependencies"] if event["types"]["generator"])
    asked = ["embedded", "bomb\ndagger", "", "names", 300, "normal", None, "", "edit"]
    _, chart, summary, details, folded, key, panel, download, _ = visitor.call(run, *asked)
    assert (chart["visible"], panel["visible"], folded["open"]) == (False, True, False)
    for words in ("Done: solved in closed form", "Words nobody asked about", "image-to-image search", "short lists"):
        assert words in summary, words
    assert "label mask" in details
    answer = visitor.http.get(f"/file={download['value']['path']}")
    with zipfile.ZipFile(io.BytesIO(answer.raise_for_status().content)) as archive:
        archive.extractall(tmp_path)
    adapter = ForgetAdapter.from_pretrained(tmp_path / "no-bomb-dagger")
    assert (adapter.kind, adapter.config.forget) == ("edit", ["bomb", "dagger"])
    drawing = demo.plain(["bomb"], "test")[0].convert("RGB")
    drawing.save(tmp_path / "bomb.png")
    labels = ["bomb", "pizza", "rose"]
    after = ask(client, str(tmp_path / "bomb.png"), key, "\n".join(labels))[1]
    own = adapter.load_base(device="cpu").classify([drawing], labels)[0].tolist()
    assert [after["bomb"], after["pizza"], after["rose"]] == pytest.approx(own, abs=1e-5)


@pytest.mark.parametrize(("names", "ours"), [("gun", True), ("a" * 5_000, False), ("\x00", False)])
def test_a_banner_says_what_a_link_forgets_and_nothing_of_the_example(store, names, ours):
    found = dict(zip(ALL, open_link(InstantEdits(store), {"forget": names, "labels": "gun, key"}), strict=True))
    assert found["labels"] == ["gun", "key"]
    assert found["forget"] == (["gun"] if ours else list(EXAMPLE.forget))
    assert found["banner"].visible is ours


def test_a_model_that_the_page_does_not_hold_is_named_as_text(tmp_path):
    shut = AdapterStore(tmp_path, ModelCache(any_on_hub=False))
    assert "The model &#60;b&#62; is not on this page: choose another" in try_tab._explain_base(shut, "<b>")
    assert "fetched from the Hub" in try_tab._explain_base(AdapterStore(tmp_path, ModelCache()), "user/clip")
    assert try_tab._explain_base(shut, "embedded") == ""


def test_strings_from_an_adapter_are_no_markup(store):
    hostile = "<img src=x onerror=alert(1)> [a](http://evil) **b**"
    assert not set("<>[]()*:/") & set(plain_text(hostile))
    adapter = ForgetAdapter.from_pretrained(store.root / KEY)
    text = describe_adapter(replace(adapter, config=replace(adapter.config, forget=[hostile])))
    assert "<img" not in text
    assert "evil)" not in text


def test_test_drawings_are_those_of_the_names_that_the_demo_knows(store):
    adapter = ForgetAdapter.from_pretrained(store.root / KEY)
    assert example_images(adapter) == []  # colours are no emoji
    config = replace(adapter.config, forget=["beer mug", "red"], retain=["guitar", "banana", "green"])
    found = example_images(replace(adapter, config=config))
    assert [name for _, name in found] == ["beer mug", "guitar", "banana"]
    assert all(image.mode == "RGB" for image, _ in found)


def test_importing_app_is_quick_and_what_acts_knows_no_gradio():
    acting = [
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for room in ("inputs", "services", "views")
        for path in sorted((REPOSITORY / "space" / room).glob("*.py"))
        if path.stem not in ("__init__", "thread_safe_clip")
    ]
    heavy = "import sys, app; print([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules])"
    light = f"import sys, {', '.join(acting)}; print([m for m in ('torch', 'gradio') if m in sys.modules])"
    for code in (heavy, light):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=600
        )
        assert done.stdout.strip() == "[]"
