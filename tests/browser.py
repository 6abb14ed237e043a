"""Debian's Chromium and the real app in a process of its own, for tests and screenshots."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SERVE = "import sys; from pathlib import Path; from space.ui import build, launch; launch(build(Path(sys.argv[1])))"


@contextmanager
def serving(root: Path, **settings: str) -> Iterator[str]:
    """The app with this root at an address on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1", "PYTHONPATH": str(REPOSITORY), "HF_TOKEN": "", **settings,
    }  # fmt: skip
    command = [sys.executable, "-c", SERVE, str(root)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL) as app:
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/config", timeout=5).close()
                    break
                except OSError:
                    assert app.poll() is None, "the app ended"
                    time.sleep(0.25)
            yield address
        finally:
            app.terminate()
