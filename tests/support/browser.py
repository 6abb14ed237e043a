"""Debian's Chromium and the real app in a process of its own, for tests and screenshots."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.gradio_http import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
try:
    from playwright.sync_api import Browser, expect, sync_playwright
except ImportError:
    CHROMIUM, expect = "", None
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
if os.environ.get("CI") == "true" and not (CHROMIUM and find_spec("axe_playwright_python") and find_spec("mcp")):
    raise RuntimeError("the page must be tested here: install Debian's chromium, and run make setup")
in_chromium = pytest.mark.skipif(
    not CHROMIUM,
    reason="the page was not tested: it takes chromium (apt-get install chromium) and make setup",
)
SERVE = "import sys; from pathlib import Path; from space.ui.app import build, launch; launch(build(Path(sys.argv[1])))"


@contextmanager
def serving(root: Path, log: Path | None = None, **settings: str) -> Iterator[str]:
    """The app with this root at an address on loopback; whatever it prints goes into `log`, if there is one."""
    port = free_port()
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1", "PYTHONPATH": str(REPOSITORY), "HF_TOKEN": "", **settings,
    }  # fmt: skip
    command = [sys.executable, "-c", SERVE, str(root)]
    with (
        open(log or os.devnull, "wb") as out,
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=out if log else None) as app,
    ):
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(2_400):
                try:
                    urllib.request.urlopen(f"{address}/config", timeout=5).close()
                    break
                except OSError:
                    assert app.poll() is None, "the app ended"
                    time.sleep(0.25)
            yield address
        finally:
            app.terminate()


@contextmanager
def browsing() -> Iterator[Browser]:
    """Debian's Chromium."""
    expect.set_options(timeout=180_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
