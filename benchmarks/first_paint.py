"""Seconds and bytes of the Space's first screen in Chromium: to the first before and after, and to an edit's answer.

    python benchmarks/first_paint.py [--visits 5]

On a server that is warm: its example is computed before it serves.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.browser import CHROMIUM, FLAGS, serving

WORDS = ("spider", "guitar", "pizza", "bicycle", "rose", "banana", "airplane", "hamburger")


def visit(browser: Browser, address: str, word: str) -> tuple[float, float, int]:
    """Seconds to the first before and after, seconds from a typed word to its verdict, bytes that were sent."""
    page = browser.new_context().new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    start = time.monotonic()
    page.goto(address)
    page.locator("#comparison s").first.wait_for()
    painted = time.monotonic() - start
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="your own").click()
    box = page.get_by_label("Forget: type a word")
    start = time.monotonic()
    box.fill(word)
    box.press("Enter")
    page.locator("#verdict", has_text=f"It knew this as “{word}”").wait_for()
    answered = time.monotonic() - start
    total = sum(sizes)
    page.context.close()
    return painted, answered, total


def main() -> None:
    """Prints medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=5)
    visits = parser.parse_args().visits
    with tempfile.TemporaryDirectory() as root, serving(Path(root)) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = [visit(browser, address, WORDS[number % len(WORDS)]) for number in range(visits)]
        browser.close()
    painted, answered, sizes = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"first before and after: {painted:.2f} s, {sizes / 2**20:.2f} MB; a word's answer: {answered:.2f} s")


if __name__ == "__main__":
    main()
