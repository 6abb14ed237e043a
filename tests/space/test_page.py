"""The stories of a visitor, on the real page, in a real browser."""

import re
import shutil
import zipfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from hf_unlearn import ForgetAdapter
from hf_unlearn.demo import emoji_tasks as demo
from tests.support.browser import REPOSITORY, browsing, expect, in_chromium, serving
from tests.support.gradio_http import Stranger

pytestmark = in_chromium
# Gradio fades a tab's panel in, and what is being computed out; colours are measured after that
FADED_IN = (
    "!document.querySelector('.pending') && "
    "[...document.querySelectorAll('[role=tabpanel]')].every(panel => getComputedStyle(panel).opacity === '1')"
)
LONG = ["bomb", "guitar", "embedded", "drawings", 3_000, "normal", "", "context"]
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


def verdict(page):
    return page.locator("#verdict [role=status]")


def chips(page):
    return page.locator("#forget-chips li")


def wait_for_link(page, *parts: str) -> None:
    page.wait_for_function("parts => parts.every(part => location.search.includes(part))", arg=list(parts))


def test_the_example_is_part_of_what_is_painted_first(address):
    components = httpx.get(f"{address}/config", timeout=600).json()["components"]
    shown = {c["props"].get("elem_id"): c["props"].get("value") for c in components}
    assert "<s>gun</s>" in shown["comparison"]
    assert "6 of 6" in shown["strip"]
    assert shown["picture"]["url"]
    assert httpx.get(f"{address}/pictures/bomb-twemoji.png", timeout=600).headers["content-type"] == "image/png"
    assert httpx.get(f"{address}/pictures/secret.png", timeout=600).status_code == 404


def test_a_newcomer_types_a_word_and_sees_it_forgotten(page, address):
    page.goto(address)
    expect(verdict(page)).to_contain_text("It knew this as “gun”")
    page.get_by_role("button", name="your own").click()
    expect(verdict(page)).to_contain_text("Type a word above")
    page.get_by_label("Forget: type a word").press_sequentially("spider")  # no Enter, no button
    expect(verdict(page)).to_contain_text("It knew this as “spider”")
    expect(page.locator("#comparison s")).to_have_text("spider")
    expect(page.locator("#strip")).to_contain_text("2 of 2 pictures forgotten")
    page.get_by_label("Forget: type a word").press("Enter")
    expect(chips(page)).to_have_text(["spider✕"])
    page.get_by_role("button", name="alcohol").click()
    expect(chips(page)).to_have_count(5)
    page.get_by_role("button", name="Undo").click()
    expect(chips(page)).to_have_text(["spider✕"])
    page.get_by_role("button", name="alcohol").click()
    page.get_by_role("button", name="Remove sake").click()
    expect(chips(page)).to_have_count(4)
    wait_for_link(page, "forget=beer,wine,cocktail,champagne")
    page.locator("#strip").get_by_role("button", name=re.compile("^bicycle")).click()
    expect(verdict(page)).to_contain_text("It still knows “bicycle”")
    page.get_by_label("Remove Image").click()
    expect(verdict(page)).to_contain_text("It knew this as “beer”")
    expect(page.locator("#picture img")).to_have_attribute("src", re.compile("pictures/beer-mug-"))


def test_the_end_of_quick_clicks_is_an_answer_to_all_of_them(page, address):
    page.goto(f"{address}/?forget=beer,gun")
    expect(page.get_by_text("This link makes the model forget")).to_be_visible()
    page.evaluate("""() => {
      const acts = ["#strip [data-name^=bicycle-]", "#strip [data-name^=guitar-]", "[aria-label='Remove gun']"];
      acts.forEach((act, place) => setTimeout(() => document.querySelector(act).click(), 50 * place));
    }""")
    wait_for_link(page, "forget=beer&image=guitar")
    expect(chips(page)).to_have_text(["beer✕"])
    expect(verdict(page)).to_contain_text("It still knows “guitar”")
    expect(page.locator("#strip [aria-pressed=true]")).to_have_attribute("data-name", re.compile("guitar"))
    composed = """box => {
      box.value = "qi,ang";
      box.dispatchEvent(new InputEvent("input", {isComposing: true}));
      return box.value;
    }"""
    assert page.get_by_label("Forget: type a word").evaluate(composed) == "qi,ang"  # no word before its end


def test_an_engineer_brings_labels_and_a_photo_and_both_survive(page, address, tmp_path):
    demo.plain(["dagger"], "test")[0].convert("RGB").resize((200, 200)).save(tmp_path / "photo.png")
    page.goto(f"{address}/?forget=dagger")
    expect(page.get_by_text("This link makes the model forget")).to_be_visible()
    page.get_by_label("Compare with: names").fill("pen, <b>bold</b>, sword")
    page.get_by_label("Compare with: names").press("Enter")
    wait_for_link(page, "labels=pen,")
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "photo.png")
    expect(page.get_by_text("A link can't carry your photo")).to_be_visible()
    expect(verdict(page)).to_contain_text("Now it says “pen”")
    assert page.locator("b", has_text=re.compile("^bold$")).count() == 0
    page.get_by_role("button", name="Forget “pen” too").click()
    expect(chips(page)).to_have_count(2)
    expect(page.locator("#comparison s").first).to_be_visible()
    expect(page.locator(".chips li", has_text="sword")).to_be_visible()
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.locator("#picture input[type=file]").set_input_files(tmp_path / "broken.png")
    expect(verdict(page)).to_contain_text("This file is not an image we can read")
    expect(page.locator("#comparison .compare")).to_have_count(0)


def test_a_word_that_goes_along_is_protected_with_a_click(page, address):
    page.goto(f"{address}/?forget=beer+mug")
    page.get_by_role("button", name="Protect beer").click()
    wait_for_link(page, "keep=beer")
    expect(page.locator("#neighbours")).to_contain_text("No other word")
    page.get_by_role("button", name="Protect words").click()
    expect(page.get_by_role("button", name="Remove beer", exact=True)).to_be_visible()
    page.get_by_label("range slider for Breadth").press("End")
    wait_for_link(page, "breadth=1")


def test_somebody_with_a_link_sees_what_it_does_and_switches_it_off(page, address):
    page.goto(f"{address}/?forget=bomb,%24%7Balert(1)%7D,%3Cb%3Ex&labels=bread&image=bomb-twemoji&breadth=0.25")
    expect(page.get_by_text("This link makes the model forget")).to_contain_text("bomb, ${alert(1)}, <b>x")
    expect(chips(page)).to_have_count(3)
    page.get_by_label("Forgetting is on").uncheck()
    expect(verdict(page)).to_contain_text("Switched off: this is the plain model. It sees “bomb”")
    page.get_by_label("Forget: type a word").fill("pizza,")
    expect(page.get_by_text("This link makes the model forget")).to_be_hidden()
    expect(page.get_by_label("Forgetting is on")).to_be_checked()
    page.goto(f"{address}/?forget=")
    expect(verdict(page)).to_contain_text("Type a word above")
    expect(chips(page)).to_have_count(0)
    page.get_by_role("tab", name="Library").click()
    wait_for_link(page, "tab=library")
    page.goto(f"{address}/?forget=bomb&image=nothing&breadth=wide")
    panel = page.get_by_role("alert")
    expect(panel).to_contain_text("breadth: expected a number, got 'wide'")
    expect(panel).to_contain_text("image: There is no picture 'nothing'")
    expect(verdict(page)).to_contain_text("bomb")


def test_a_developer_takes_the_model_the_code_and_the_figures(page, address, tmp_path):
    page.goto(f"{address}/?forget=gun,knife&keep=pen")
    wait_for_link(page, "keep=pen")
    page.get_by_role("button", name="Get the code").click()
    code = page.get_by_label("Python")
    expect(code).to_contain_text('forget=["gun", "knife"], keep=["pen"]')
    expect(page.get_by_label("MCP, for agents")).to_contain_text(f"{address}/gradio_api/mcp/")
    page.get_by_role("button", name="Get the model").click()
    page.get_by_role("button", name="Adapter (zip").click()
    with page.expect_download() as download:
        page.locator("a[download$='no-gun-knife.zip']").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
    assert ForgetAdapter.from_pretrained(tmp_path / "no-gun-knife").config.retain == ["pen"]
    page.get_by_role("button", name="How sure is this?").click()
    figures = page.get_by_role("region", name="Figures of this edit")
    expect(figures).to_contain_text("label mask")
    before = figures.inner_text()
    page.get_by_label("Forget: type a word").fill("pizza,")
    expect(page.locator("a[download$='no-gun-knife.zip']")).to_be_hidden()
    expect(figures).not_to_have_text(before)


def test_on_a_phone_the_answer_to_a_tap_is_in_view(chromium, address):
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(address)
    page.locator("#strip").get_by_role("button", name=re.compile("^bicycle")).click()
    expect(verdict(page)).to_contain_text("bicycle")
    expect(verdict(page)).to_be_in_viewport()
    page.close()


def test_a_refused_run_leaves_the_tab_unlocked(page, address):
    page.goto(f"{address}/?tab=forget")
    start = page.get_by_role("button", name="Make it forget")
    for _ in range(2):
        start.click()
        expect(page.get_by_text("There are no names to forget").last).to_be_visible()
        expect(start).to_be_enabled()
    expect(page.get_by_role("button", name="Stop, keep the best so far")).to_be_disabled()


def test_a_visitor_in_the_queue_reads_their_place_and_leaves_it(page, address):
    with ExitStack() as others:
        for _ in range(2):
            other = Stranger(address)
            other.join(other.named("forget"), *LONG)
            next(others.enter_context(other.listening()))
        page.goto(f"{address}/?tab=forget")
        page.get_by_label("Names only").check()
        page.get_by_label("Context: searched").check()
        page.get_by_label("Ticked names").fill("absinthe")
        expect(page.get_by_text("2 visitors are before you.")).to_be_visible()
        start = page.get_by_role("button", name="Make it forget")
        start.click()
        expect(page.locator("#run-progress")).to_contain_text("Waiting: 2 visitors are before you")
        page.get_by_role("button", name="Stop, keep the best so far").click()
        expect(page.get_by_text("Stopped before there was anything to keep").last).to_be_visible()
        expect(start).to_be_enabled()


def test_what_a_visitor_chooses_on_the_form_is_shown_by_the_browser_alone(page, address):
    config = httpx.get(f"{address}/config", timeout=600).json()
    ids = {c["props"].get("label"): c["id"] for c in config["components"]}
    chosen = {ids["Images"], ids["Make it by"]}  # no answer of the server overtakes what a visitor does next
    written = {ids["Make it by"], ids["Keep"], ids["Budget, queries"]}
    changes = [d for d in config["dependencies"] if written & {*d["outputs"]} and chosen & {t for t, _ in d["targets"]}]
    assert len(changes) == 3
    assert not any(change["backend_fn"] for change in changes)
    page.goto(f"{address}/?tab=forget")
    method, keep = page.get_by_label("Context: searched"), page.get_by_label("What must not suffer")
    expect(method).to_be_checked()  # the tab is for models that give nothing but scores
    expect(keep).to_have_value(re.compile("red apple\n"))
    page.get_by_label("My images").check()
    expect(page.get_by_text("A zip: one folder").first).to_be_visible()
    page.get_by_label("The demo's drawings").check()
    expect(keep).to_have_value(re.compile("red apple\n"))
    page.get_by_label("My images").check()
    expect(keep).to_have_value("")
    keep.fill("rose")
    page.get_by_label("Names only").check()
    expect(method).to_be_checked()
    page.get_by_role("button", name="Advanced").click()
    expect(page.get_by_label("number input for Budget")).to_be_visible()
    expect(keep).to_have_value("rose")


def test_a_visitor_tries_the_plain_model_with_a_drawing_and_own_labels(page, address):
    page.goto(f"{address}/?tab=try")
    page.locator(".drawings [data-act]").first.click()
    expect(page.get_by_text("The plain model says").first).to_contain_text("beer mug")
    page.get_by_label("Labels").fill("guitar, <b>bold</b>, beer mug")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".scores").first).to_contain_text("<b>bold</b>")
    assert page.locator(".scores b").count() == 0


def test_a_visitor_gives_names_alone_and_an_edit_forgets_them(page, address, root):
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("Names only").check()
    page.get_by_label("Edit: names").check()
    expect(page.get_by_label("What must not suffer")).to_have_value("")
    page.get_by_label("Ticked names").fill("beer mug\nwine glass")
    expect(page.get_by_text("it reads the model's own words")).to_be_visible()
    page.get_by_role("button", name="Make it forget").click()
    expect(page.get_by_text("Done: solved in closed form")).to_be_visible()
    expect(page.locator("#run-summary")).to_contain_text("forgotten")
    expect(page.get_by_role("heading", name="Words nobody asked about")).to_be_visible()
    expect(page.get_by_text("also forgotten: ").first).to_be_visible()
    expect(page.get_by_text("image-to-image search still finds").first).to_be_visible()
    figures = page.get_by_role("region", name="Figures", exact=True)
    expect(figures).to_be_hidden()
    page.get_by_role("button", name="Details").click()
    expect(figures.get_by_role("rowheader", name="after")).to_be_visible()
    expect(page.get_by_text("Best so far: H green")).to_be_hidden()
    with page.expect_download() as download:
        page.get_by_text("Download the adapter (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "no-beer-mug-wine-glass/forget_edit.safetensors" in archive.namelist()
    page.get_by_role("button", name="Export a checkpoint").click()
    with page.expect_download() as download:
        page.locator("a[download$='-checkpoint.zip']").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert "model.safetensors" in {Path(name).name for name in archive.namelist()}
    page.get_by_label("The demo's drawings").check()
    page.get_by_label("What must not suffer").fill("wine glass")
    page.get_by_role("button", name="Make it forget").click()
    expect(page.get_by_text("'wine glass' is to be forgotten and kept").last).to_be_visible()
    expect(page.get_by_text("This run made nothing.")).to_be_visible()
    expect(page.get_by_text("Done: made before this run")).to_be_visible()  # a refusal takes nothing away
    page.evaluate("sessionStorage.setItem('running', 'yes')")  # as where a page is left during a run
    page.reload()
    expect(page.get_by_text("The page was loaded again during a run")).to_be_visible()
    expect(page.get_by_label("Ticked names")).to_have_value("beer mug\nwine glass")
    expect(page.get_by_label("The demo's drawings")).to_be_checked()
    expect(page.get_by_text("Done: made before this page was loaded")).to_be_visible()
    page.get_by_role("button", name="Use it in Try").click()
    page.locator(".drawings [data-act]").first.click()
    expect(page.get_by_text(re.compile("with the adapter it (says|recognizes)")).first).to_be_visible()
    expect(page.get_by_text("Words nobody asked about: also forgotten: ").first).to_be_visible()
    page.get_by_role("button", name="What this adapter forgets and keeps").click()
    expect(page.get_by_text("with 5 labels").first).to_be_visible()


def test_a_visitor_makes_a_clip_forget_watches_it_and_uses_it(page, address, root):
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("The demo's drawings").check()
    expect(page.get_by_label("What must not suffer")).to_have_value(re.compile("\n"))
    page.get_by_label("Search the categories").press_sequentially("beer mug")
    expect(page.locator(".concepts label:visible")).to_have_count(2)
    page.get_by_label("Ticked names").fill("absinthe")
    page.get_by_label("beer mug", exact=True).check()
    expect(page.get_by_label("Ticked names")).to_have_value("absinthe\nbeer mug")  # what was typed stays
    page.get_by_label("Ticked names").fill("beer mug\nbomb\ndagger")
    page.get_by_label("What must not suffer").fill("guitar\nbanana\npizza\ncat face\nbicycle\nkey")
    expect(page.get_by_text("at this machine's present speed")).to_be_visible()
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("number input for Budget").fill("1000")
    page.get_by_role("button", name="Make it forget").click()
    running = page.get_by_role("progressbar", name="Run")
    expect(page.locator("#run-progress")).to_contain_text("Searching")  # before that there is nothing to keep
    expect(running).to_be_visible()
    page.get_by_role("button", name="Stop, keep the best so far").click()
    expect(page.get_by_text("stopped; the best so far is kept")).to_be_visible()
    page.get_by_role("button", name="Details").click()
    table = page.get_by_role("region", name="Figures", exact=True)
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
    page.locator(".drawings [data-act]").first.click()
    expect(page.get_by_text("The adapter is in effect").first).to_be_visible()
    before, after = page.locator(".scores").nth(0), page.locator(".scores").nth(1)
    expect(after.locator("s").first).to_have_text("beer mug")
    assert before.inner_text() != after.inner_text()
    page.get_by_label("Adapter in effect").uncheck()
    expect(page.get_by_text("The adapter is switched off").first).to_be_visible()
    assert numbers(before) == numbers(after)


def test_a_visitor_opens_an_adapter_of_the_library_by_its_link(page, address, root):
    shutil.copytree(REPOSITORY / "space" / "adapters" / "gambling", root / "space" / "adapters" / "gambling")
    page.goto(f"{address}/?tab=library")
    card = page.locator(".card", has=page.get_by_role("heading", name="gambling"))
    expect(card).to_be_visible()
    card.get_by_role("link", name="in Try").click()
    expect(page.get_by_role("tab", name="Try an adapter")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("The adapter is in effect").first).to_be_visible()


def test_the_first_screen_works_by_keyboard_alone(page, address):
    page.goto(address)
    expect(verdict(page)).to_contain_text("gun")
    keys = page.keyboard

    def go_to(control) -> None:
        control.wait_for()
        for _ in range(60):
            if control.evaluate("element => element === document.activeElement"):
                return
            keys.press("Tab")
        pytest.fail(f"no Tab leads to {control}")

    go_to(page.get_by_role("button", name="Remove gun"))
    keys.press("Enter")
    expect(chips(page)).to_have_count(4)
    go_to(page.get_by_label("Forget: type a word"))
    keys.type("spider,")
    expect(chips(page)).to_have_count(5)
    keys.press("Backspace")
    expect(chips(page)).to_have_count(4)
    go_to(page.locator("#strip").get_by_role("button", name=re.compile("^guitar")))
    keys.press("Enter")
    expect(verdict(page)).to_contain_text("It still knows “guitar”")
    expect(page.locator("#strip [data-name^=guitar-]")).to_be_focused()  # the new one, not the top of the page
    go_to(page.get_by_role("button", name="Copy link"))


def test_labels_survive_a_change_of_adapter_and_a_broken_link_is_said_in_a_panel(page, address, root):
    shutil.copytree(REPOSITORY / "space" / "adapters" / "alcohol", root / "space" / "adapters" / "alcohol")
    page.goto(f"{address}/?adapter=space/adapters/nothing")
    expect(page.get_by_role("alert").filter(has_text="You see the plain model")).to_be_visible()
    expect(page.get_by_label("Adapter in effect")).not_to_be_checked()
    page.get_by_label("Labels").fill("guitar, beer mug")
    choice = page.get_by_label("Adapter, or an adapter's id")
    choice.fill("alcohol")
    page.get_by_role("option", name="alcohol").first.click()
    expect(page.get_by_label("Adapter in effect")).to_be_checked()
    page.locator(".drawings [data-act]").first.click()
    expect(page.get_by_text(re.compile("with the adapter it (says|recognizes)")).first).to_be_visible()
    expect(page.get_by_label("Labels")).to_have_value("guitar, beer mug")
    page.get_by_label("Adapter in effect").uncheck()
    expect(page.get_by_text("The adapter is switched off").first).to_be_visible()


@pytest.mark.parametrize("tab", ["now", "try", "forget", "library", "about"])
def test_every_tab_fits_a_phone_and_axe_finds_nothing_serious(chromium, address, tab):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")  # never missing in CI, see browser.py
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{address}/?tab={tab}")
    page.locator(f"#tab-{tab}").wait_for()
    page.wait_for_function(FADED_IN)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = axe.Axe().run(page).response["violations"]
    page.close()
    wrong = {item["id"]: [n["html"][:160] for n in item["nodes"]][:4] for item in found
             if item["id"] == "heading-order"
             or (item["impact"] in ("serious", "critical") and item["id"] != GRADIOS_OWN)}  # fmt: skip
    assert not wrong


LATE_CLOSING = """(() => {
  const ask = window.fetch.bind(window);
  window.fetch = async (what, options) => {
    const response = await ask(what, options);
    if (!(what.url ?? what).includes("/queue/data")) return response;
    const late = { async transform(bytes, on) {
      if (new TextDecoder().decode(bytes).includes("close_stream")) {
        window.closing = true;  // the server has closed the stream, and the client does not know it yet
        await new Promise((resolve) => setTimeout(resolve, 3000));
      }
      on.enqueue(bytes);
    } };
    return new Response(response.body.pipeThrough(new TransformStream(late)), response);
  };
})()"""


def test_a_click_while_the_stream_of_answers_closes_is_answered(chromium, address):
    page = chromium.new_page()
    page.add_init_script(LATE_CLOSING)
    page.goto(f"{address}/?tab=try")
    page.locator("#tab-try").wait_for()
    page.wait_for_function("window.closing")
    page.locator(".drawings [data-act]").first.click()
    expect(page.get_by_text(re.compile("The plain model says")).first).to_be_visible()
    page.close()


OVERLAPS = """() => {
  const seen = element => element.checkVisibility({opacityProperty: true, visibilityProperty: true}) &&
    !element.closest('.concepts') && !element.matches('[data-testid=block-label]');  // what scrolls, what floats
  const boxes = [...document.querySelectorAll('a, button, input:not([type=file]), label, textarea')].filter(seen)
    .map(element => [element, element.getBoundingClientRect()]);
  const apart = (one, two) => Math.min(one.right, two.right) - Math.max(one.left, two.left) < 3 ||
    Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top) < 3;
  return boxes.flatMap(([one, box], place) => boxes.slice(place + 1)
    .filter(([two, other]) => !one.contains(two) && !two.contains(one) && !apart(box, other))
    .map(([two]) => [one.outerHTML.slice(0, 90), two.outerHTML.slice(0, 90)]));
}"""


@pytest.mark.parametrize("width", [1280, 800, 390])
@pytest.mark.parametrize("tab", ["now", "try", "forget", "library", "about"])
def test_no_control_lies_over_another(chromium, address, tab, width):
    page = chromium.new_page(viewport={"width": width, "height": 800})
    page.goto(f"{address}/?tab={tab}")
    page.locator(f"#tab-{tab}").wait_for()
    page.wait_for_function(FADED_IN)
    found = page.evaluate(OVERLAPS)
    page.close()
    assert not found[:3]


def numbers(scores) -> list[str]:
    return sorted(re.findall(r"\d+%", scores.inner_text()))
