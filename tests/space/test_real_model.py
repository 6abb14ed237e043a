"""A CLIP of photographs beside the embedded one: the Hub answers, is slow, fails midway, or is out of reach."""

import os
from pathlib import Path
from threading import Event
from urllib.parse import quote

import pytest

from hf_unlearn.edits.vocabulary import vocabulary_words
from hf_unlearn.models.embedded import MODEL_FOLDER
from space.services import photographs
from space.services.pictures import all_pictures, find_picture, other_pictures, pictures_of
from space.services.real_model import COMMIT, REAL_MODEL
from space.services.recipe import Recipe
from space.views.how_to_use import python_code
from tests.support.browser import browsing, expect, in_chromium, serving
from tests.support.checkpoints import write_clip
from tests.support.gradio_http import Stranger, free_port
from tests.support.hub_client import Client, environment
from tests.support.hub_server import Hub

STARTED = {}  # in the client's process


PATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": "600"}  # seconds; a busy machine takes long to answer while the file waits


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A small random CLIP whose tokenizer has the words that an edit takes."""
    folder = Path(write_clip(tmp_path_factory.mktemp("real"), seed=2, words=vocabulary_words(load_tokenizer())[:99]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def load_tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(MODEL_FOLDER)


@pytest.fixture
def hub(files):
    with Hub() as server:
        repo = server.add(REAL_MODEL, files)
        repo.commits[COMMIT] = repo.commits[repo.refs["main"]]
        yield server


def client(endpoint: str, home: Path, **settings: str) -> Client:
    return Client({**environment(endpoint, home / "hf"), "HF_UNLEARN_CACHE": str(home / "cache"), **settings})


def begin() -> str:
    """Starts the download, answers with the embedded model, and returns the state."""
    from space.services.adapter_store import AdapterStore
    from space.services.instant_edit import InstantEdits
    from space.services.model_cache import ModelCache
    from space.services.real_model import RealModel
    from space.services.recipe import EXAMPLE

    models = ModelCache()
    edits = InstantEdits(AdapterStore(Path(os.environ["HF_UNLEARN_CACHE"]), models))
    real = RealModel(models)
    real.start(edits.scores_of)
    assert edits.answer(EXAMPLE).verdict.outcome == "forgotten"
    STARTED.update(models=models, edits=edits, real=real)
    return real.state.value


def finish() -> tuple[str, list[str]]:
    """Waits for the outcome, and answers with the embedded model again."""
    from space.services.recipe import EXAMPLE

    state = STARTED["real"].wait()
    assert len(STARTED["edits"].answer(EXAMPLE).strip) == 12
    return state.value, list(STARTED["models"].bases)


def forget_cat() -> tuple[int, str, str | None, str]:
    from space.services.recipe import Recipe

    answer = STARTED["edits"].answer(Recipe(("cat",), picture="cat-photograph", base=REAL_MODEL))
    config = answer.adapter.config
    return len(answer.bars), config.base_model, config.base_revision, answer.shown


def test_a_slow_hub_delays_the_model_and_nothing_else(hub, tmp_path):
    arrived = Event()
    hub.fail("GET", r"model\.safetensors", lambda _: arrived.wait(), times=100)
    process = client(hub.endpoint, tmp_path, **PATIENT)
    assert process(begin) == "coming"
    arrived.set()
    assert process(finish) == ("ready", ["embedded", REAL_MODEL])
    bars, base, revision, shown = process(forget_cat)
    assert bars >= 2
    assert (base, revision, shown) == (REAL_MODEL, COMMIT, "cat-photograph")
    assert not [path for path in hub.asked() if "/resolve/main/" in path]  # the pinned commit alone


def cut_short(handler) -> None:
    handler.cut = 1_000


@pytest.mark.parametrize("fault", [503, 404, cut_short])
def test_a_hub_that_fails_midway_leaves_the_page_as_it_was(hub, tmp_path, fault):
    hub.fail("GET", r"model\.safetensors|/storage/", fault, times=1_000)
    process = client(hub.endpoint, tmp_path)
    process(begin)
    assert process(finish) == ("absent", ["embedded"])


def test_damaged_weights_leave_the_page_as_it_was(hub, tmp_path):
    tree = hub.repos[REAL_MODEL].commits[COMMIT]
    hub.repos[REAL_MODEL].commits[COMMIT] = {**tree, "tokenizer.json": b"{}"}
    process = client(hub.endpoint, tmp_path)
    process(begin)
    assert process(finish) == ("absent", ["embedded"])


def test_without_a_hub_the_model_is_absent(tmp_path):
    process = client(f"http://127.0.0.1:{free_port()}", tmp_path)
    process(begin)
    assert process(finish) == ("absent", ["embedded"])


def test_offline_nothing_is_asked(hub, tmp_path):
    process = client(hub.endpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert process(begin) == "absent"
    assert process(finish) == ("absent", ["embedded"])
    assert hub.asked() == []


@in_chromium
def test_the_page_says_when_the_model_is_ready_and_shows_it(hub, tmp_path):
    arrived = Event()
    hub.fail("GET", r"model\.safetensors", lambda _: arrived.wait(), times=100)
    settings = {**environment(hub.endpoint, tmp_path / "hf"), "HF_UNLEARN_CACHE": str(tmp_path / "cache")}
    with serving(tmp_path / "root", tmp_path / "log", **{**settings, **PATIENT}) as address, browsing() as browser:
        page = browser.new_page()
        page.goto(address)
        notice = page.locator("#real-model")
        expect(notice).to_contain_text("is being fetched")
        arrived.set()
        expect(notice).to_contain_text("is ready")
        for tab, label in (("Scores only", "Base model"), ("Try an adapter", "Base model")):
            page.get_by_role("tab", name=tab).click()
            page.get_by_label(label).filter(visible=True).first.click()
            expect(page.get_by_role("option", name=REAL_MODEL, exact=True)).to_be_visible()
            page.keyboard.press("Escape")
        visitor = Stranger(address)
        (described,) = visitor.call(visitor.named("describe"), REAL_MODEL, "{}")
        assert described["revision"] == COMMIT
        page.get_by_role("tab", name="Forget now").click()
        notice.get_by_role("button").click()
        expect(page.locator("#forget-chips li")).to_have_count(1)
        expect(page.locator("#link button")).to_have_attribute(
            "data-link", f"?forget=cat&model={quote(REAL_MODEL, safe='')}"
        )


def test_the_code_pins_the_models_commit():
    assert f'ClipBlackBox("{REAL_MODEL}", revision="{COMMIT}")' in python_code(Recipe(("cat",), base=REAL_MODEL))
    assert "revision" not in python_code(Recipe(("cat",)))


def test_photographs_are_offered_in_place_of_drawings():
    shown = all_pictures(of_photographs=True)
    assert len(shown) == 12  # as many as a strip shows
    assert {picture.key for picture in shown}.isdisjoint(picture.key for picture in all_pictures())
    assert [picture.name for picture in pictures_of(["pagoda"], of_photographs=True)] == ["temple"]
    assert len(other_pictures(["cat"], of_photographs=True)) == len(shown) - 1
    for picture in shown:
        image = find_picture(picture.key).load()
        assert (image.mode, max(image.size)) == ("RGB", 320)


def test_every_photograph_names_its_author_and_licence():
    rows = [
        line
        for line in (photographs.FOLDER / "LICENCES.md").read_text(encoding="utf-8").splitlines()
        if ".webp" in line
    ]
    assert sorted(row.split("|")[1].strip() for row in rows) == sorted(f"{name}.webp" for name in photographs.NAMES)
    assert sorted(path.stem for path in photographs.FOLDER.glob("*.webp")) == sorted(photographs.NAMES)
    assert all(cell.strip() for row in rows for cell in row.strip("|").split("|"))
    assert all(row.strip("| ").split("|")[-1].strip().startswith(("CC0", "[CC BY", "public domain")) for row in rows)
