"""The command line as a user runs it, in a process of its own or in this one; and folders of images for it."""

import io
import json
import os
import subprocess
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from hf_unlearn.cli.main import main
from tests.support.images import COLOURS, coloured


def hf_unlearn(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "hf_unlearn", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})


def hf_unlearn_here(*arguments) -> subprocess.CompletedProcess:
    """The same in this process, which has torch loaded already: for cases that need no process of their own."""
    out, err, before, code = io.StringIO(), io.StringIO(), sys.argv, 0
    sys.argv = ["hf-unlearn", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code
    except Exception:
        code = 1
        err.write(traceback.format_exc())
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def strict_json(text: str):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def write_images(folder: Path, count: int = 7, names=tuple(COLOURS)) -> Path:
    images = coloured(count)
    for number in range(len(images)):
        if images.names[images.labels[number]] in names:
            path = folder / images.names[images.labels[number]]
            path.mkdir(parents=True, exist_ok=True)
            images[number].save(path / f"{number}.png")
    return folder
