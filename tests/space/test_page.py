"""The stories of a visitor, on the real page, in a real browser."""

import re
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from tests.support.browser import REPOSITORY, browsing, expect, in_chromium, serving

pytestmark = in_chromium
GRADIOS_OWN = "aria-prohibited-attr"  # an empty gr.Label has an aria-label where none belongs


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def address(root):
    with serving(root) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    with browsing() as browser:
        yield browser


@pytest.fixture
def page(chromium, address):
    context = chromium.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(180_000)
    yield page
    context.close()


def test_the_first_paint_takes_under_three_seconds_with_no_model_loaded(page, address):
    start = time.monotonic()
    page.goto(address)
    page.get_by_role("tab", name="Try").wait_for()
    page.get_by_role("button", name="Compare").wait_for()
    assert time.monotonic() - start < 3


def test_a_visitor_tries_the_plain_model_with_a_drawing_and_own_labels(page, address):
    page.goto(address)
    page.locator(".drawings button.thumbnail-item").first.click()
    expect(page.get_by_text("The plain model says").first).to_contain_text("beer mug")
    page.get_by_label("Labels").fill("guitar, <b>bold</b>, beer mug")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".scores").first).to_contain_text("<b>bold</b>")
    assert page.locator(".scores b").count() == 0


def test_a_visitor_gives_names_alone_and_an_edit_forgets_them(page, address, root):
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("Ticked names").fill("beer mug\nwine glass")
    expect(page.get_by_text("it reads the model's own words")).to_be_visible()
    expect(page.get_by_label("number input for Budget")).to_be_hidden()
    page.get_by_role("button", name="Make it forget").click()
    expect(page.get_by_text("Done: solved in closed form")).to_be_visible()
    expect(page.get_by_role("heading", name="Words nobody asked about")).to_be_visible()
    expect(page.get_by_text("also forgotten: ").first).to_be_visible()
    expect(page.get_by_text("image-to-image search still finds").first).to_be_visible()
    expect(page.get_by_role("region", name="Figures").get_by_role("rowheader", name="after")).to_be_visible()
    expect(page.get_by_text("Best so far on validation images")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_text("Download the adapter (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "no-beer-mug-wine-glass/forget_edit.safetensors" in archive.namelist()
    page.get_by_role("button", name="Export a checkpoint").click()
    with page.expect_download() as download:
        page.locator("a[download$='-checkpoint.zip']").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "model.safetensors" in {Path(name).name for name in archive.namelist()}
    page.get_by_role("button", name="Use it in Try").click()
    page.locator(".drawings button.thumbnail-item").first.click()
    expect(page.get_by_text("with the adapter it says").first).to_be_visible()
    expect(page.get_by_text("Words nobody asked about: also forgotten: ").first).to_be_visible()
    page.get_by_role("button", name="What this adapter forgets and keeps").click()
    expect(page.get_by_text("with 5 labels").first).to_be_visible()


def test_a_visitor_makes_a_clip_forget_watches_it_and_uses_it(page, address, root):
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("The demo's drawings").check()
    expect(page.get_by_label("number input for Budget")).to_be_visible()
    expect(page.get_by_label("What must not suffer")).to_have_value(re.compile("\n"))
    page.get_by_label("Search the categories").press_sequentially("beer mug")
    expect(page.locator(".concepts label:visible")).to_have_count(2)
    page.get_by_label("beer mug", exact=True).check()
    expect(page.get_by_label("Ticked names")).to_have_value("beer mug")
    page.get_by_label("Ticked names").fill("beer mug\nbomb\ndagger")
    page.get_by_label("What must not suffer").fill("guitar\nbanana\npizza\ncat face\nbicycle\nkey")
    expect(page.get_by_text("on this machine as it is now")).to_be_visible()
    page.get_by_label("number input for Budget").fill("1000")
    page.get_by_role("button", name="Make it forget").click()
    running = page.get_by_role("progressbar", name="Run")
    page.wait_for_function("document.querySelector('[role=progressbar][aria-label=Run]')?.ariaValueNow >= 5")
    expect(running).to_be_visible()
    page.get_by_role("button", name="Stop, keep the best so far").click()
    expect(page.get_by_text("cancelled; the best so far is kept")).to_be_visible()
    table = page.get_by_role("region", name="Figures")
    for row in ("before", "label mask", "after"):
        expect(table.get_by_role("rowheader", name=row)).to_be_visible()
    expect(page.get_by_role("heading", name="What still leaks")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_text("Download the adapter (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        (folder,) = {name.split("/")[0] for name in archive.namelist()}
        assert {f"{folder}/config.json", f"{folder}/forget_context.safetensors"} < set(archive.namelist())
        archive.extractall(root / "space" / "adapters")
    page.get_by_role("button", name="Export a checkpoint").click()
    with page.expect_download() as download:
        page.locator("a[download$='-checkpoint.zip']").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert {"config.json", "model.safetensors", "tokenizer.json"} < {Path(n).name for n in archive.namelist()}
    page.get_by_role("button", name="Use it in Try").click()
    page.locator(".drawings button.thumbnail-item").first.click()
    expect(page.get_by_text("The adapter is in effect").first).to_be_visible()
    before, after = page.locator(".scores").nth(0), page.locator(".scores").nth(1)
    expect(after).to_contain_text("beer mug (to be forgotten)")
    assert before.inner_text() != after.inner_text()
    page.get_by_label("Adapter in effect").uncheck()
    expect(page.get_by_text("The adapter is switched off").first).to_be_visible()
    assert numbers(before) == numbers(after)


def test_a_visitor_opens_an_adapter_of_the_library_by_its_link(page, address, root):
    if not list((root / "space" / "adapters").glob("*/config.json")):
        pytest.fail("the adapter of the story before is missing")
    page.goto(f"{address}/?tab=library")
    card = page.locator(".card", has_text="Forgets 3").first
    expect(card).to_be_visible()
    card.get_by_role("link").click()
    expect(page.get_by_role("tab", name="Try")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("The adapter is in effect").first).to_be_visible()


def test_a_visitor_tries_an_adapter_by_keyboard_alone(page, address, root):
    shutil.copytree(REPOSITORY / "space" / "adapters" / "alcohol", root / "space" / "adapters" / "alcohol")
    page.goto(f"{address}/?adapter=space/adapters/alcohol")
    expect(page.get_by_text("Drop an image").first).to_be_visible()
    keys = page.keyboard

    def go_to(control) -> None:
        """Tab after Tab, until the control has the focus and keeps it: a list that opens late may take it."""
        control.wait_for()
        held = 0
        for _ in range(80):
            held = held + 1 if control.evaluate("element => element === document.activeElement") else 0
            if held == 2:
                return
            if held:
                page.wait_for_timeout(300)
            else:
                keys.press("Tab")
        pytest.fail(f"no Tab leads to {control}")

    go_to(page.get_by_role("tab", name="Library"))
    keys.press("Enter")
    expect(page.locator(".card").first).to_be_visible()
    keys.press("Shift+Tab")
    keys.press("Shift+Tab")
    keys.press("Enter")
    go_to(page.locator(".drawings button.thumbnail-item").first)
    keys.press("Enter")
    expect(page.get_by_text("with the adapter it says").first).to_be_visible()
    go_to(page.get_by_label("Labels"))
    keys.press("Control+a")
    keys.type("guitar, beer mug")
    go_to(page.get_by_role("button", name="Compare"))
    keys.press("Enter")
    expect(page.locator(".scores").first).not_to_contain_text("bear")
    go_to(page.get_by_label("Adapter in effect"))
    keys.press("Space")
    expect(page.get_by_text("The adapter is switched off").first).to_be_visible()
    go_to(page.get_by_label("Adapter, or an adapter's id"))
    keys.press("Control+a")
    keys.type("No adapter")
    expect(page.get_by_role("option", name="No adapter").first).to_be_visible()
    keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.get_by_text("No adapter is chosen").first).to_be_visible()


@pytest.mark.parametrize("tab", ["try", "forget", "library", "about"])
def test_every_tab_fits_a_phone_and_axe_finds_nothing_serious(chromium, address, tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")  # never missing in CI, see browser.py
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/?tab={tab}")
    page.get_by_role("tab", selected=True).wait_for()
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = axe.Axe().run(page).response["violations"]
    page.close()
    serious = {item["id"]: [n["html"][:160] for n in item["nodes"]][:4] for item in found
               if item["impact"] in ("serious", "critical") and item["id"] != GRADIOS_OWN}  # fmt: skip
    assert not serious


def numbers(scores) -> list[str]:
    return sorted(re.findall(r"\d+%", scores.inner_text()))
