"""Pictures of the Space's tabs for the README: `make screenshots`; light, dark and as on a phone."""

import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.browser import CHROMIUM, FLAGS, serving

HERE = Path(__file__).resolve().parent


def run(page: Page, address: str) -> None:
    """Forgets a few things; ends in Forget, the report below."""
    page.goto(f"{address}/?tab=forget")
    page.get_by_label("Ticked names").fill("beer mug\nwine glass\nbomb\ndagger")
    page.get_by_label("What must not suffer").fill("guitar\nbanana\npizza\ncat face\nbicycle\nkey")
    page.get_by_role("button", name="Make it forget").click()
    page.get_by_role("heading", name="What still leaks").wait_for()
    page.wait_for_timeout(1500)


def main() -> None:
    with tempfile.TemporaryDirectory() as root, ExitStack() as stack:
        shutil.copytree(HERE.parent / "space" / "adapters", Path(root) / "space" / "adapters")
        address, playwright = (stack.enter_context(each) for each in (serving(Path(root)), sync_playwright()))
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(600_000)
        run(page, address)
        page.screenshot(path=HERE / "space-forget.png", full_page=True)
        page.get_by_role("button", name="Use it in Try").click()
        page.locator(".drawings button.thumbnail-item").first.click()
        page.get_by_text("The adapter is in effect").first.wait_for()
        page.wait_for_timeout(1500)
        page.screenshot(path=HERE / "space-try.png", full_page=True)
        for name, tab, size, scheme in (
            ("library", "library", (1100, 600), "light"),
            ("about", "about", (1100, 800), "light"),
            ("dark", "forget", (1100, 900), "dark"),
            ("phone", "try", (390, 844), "light"),
        ):
            other = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            other.goto(f"{address}/?tab={tab}")
            other.get_by_role("tab", selected=True).wait_for()
            other.wait_for_timeout(2500)
            other.screenshot(path=HERE / f"space-{name}.png")
        browser.close()
    for picture in HERE.glob("space-*.png"):  # a palette: small files
        Image.open(picture).convert("RGB").quantize(128).save(picture, optimize=True)


if __name__ == "__main__":
    main()
