"""Pictures of the Space's tabs for the README: `make screenshots`; light, dark and as on a phone."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.browser import CHROMIUM, FLAGS, serving

HERE = Path(__file__).resolve().parent
TIMEOUT = 600_000
FADED_IN = (
    "!document.querySelector('.pending') && "
    "[...document.querySelectorAll('[role=tabpanel]')].every(panel => getComputedStyle(panel).opacity === '1')"
)
PICTURES = "[...document.images].every(image => image.complete)"


def run(page: Page, address: str) -> None:
    """Forgets a few things; ends in "Scores only", the report below."""
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("Edit: names").check()
    page.get_by_label("Ticked names").fill("beer mug\nwine glass\nbomb\ndagger")
    page.get_by_label("What must not suffer").fill("guitar\nbanana\npizza\ncat face\nbicycle\nkey")
    page.get_by_role("button", name="Make it forget").click()
    page.get_by_role("button", name="Details").click()
    page.get_by_role("heading", name="What still leaks").wait_for()


def shoot(page: Page, name: str, full_page: bool = False) -> None:
    """Takes a picture once the tab is faded in and its pictures are there."""
    page.wait_for_function(FADED_IN)
    page.wait_for_function(PICTURES)
    page.evaluate("document.activeElement.blur()")
    page.screenshot(path=HERE / f"space-{name}.png", full_page=full_page)


def take_others(browser: Browser, address: str) -> None:
    """The first screen light, dark and on a phone; library and about."""
    for name, query, size, scheme in (
        ("now", "", (1280, 800), "light"),
        ("dark", "", (1280, 800), "dark"),
        ("phone", "", (390, 844), "light"),
        ("library", "?tab=library", (1100, 600), "light"),
        ("about", "?tab=about", (1100, 800), "light"),
    ):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page.goto(f"{address}/{query}")
        page.locator(f"#tab-{query.removeprefix('?tab=') or 'now'}").wait_for()
        if "library" in query:
            page.locator(".card").first.wait_for()
        if not query:
            expect(page.locator("#verdict")).to_contain_text("It knew this", timeout=TIMEOUT)
        shoot(page, name)


def main() -> None:
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        shutil.copytree(HERE.parent / "space" / "adapters", Path(root) / "space" / "adapters")
        address, playwright = (stack.enter_context(each) for each in (serving(Path(root)), sync_playwright()))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(TIMEOUT)
        run(page, address)
        shoot(page, "forget", full_page=True)
        page.get_by_role("button", name="Use it in Try").click()
        page.locator(".drawings [data-act]").first.click()
        page.get_by_text("The adapter is in effect").first.wait_for()
        shoot(page, "try", full_page=True)
        take_others(browser, address)
        browser.close()
    for picture in HERE.glob("space-*.png"):  # a palette: small files
        Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
