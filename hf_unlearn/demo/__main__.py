"""`python -m hf_unlearn.demo TASK FOLDER` writes a task's images as folders, to try the command line on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_unlearn.console import lasting, print_line, reporting_errors
from hf_unlearn.demo import emoji_tasks as demo
from hf_unlearn.files import writing


def main(
    name: Annotated[str, typer.Argument(metavar="TASK", help="emoji10, emoji100 or moderation.")],
    folder: Annotated[Path, typer.Argument(help="Gets train/, validation/ and test/, one sub-folder per class each.")],
    draw: Annotated[int, typer.Option(help="Which draw of the task.")] = 0,
) -> None:
    """Write the images of a task on the embedded CLIP, one sub-folder per class."""
    task = demo.task(name, draw)
    for role in ("train", "validation", "test"):
        images = getattr(task, role)
        for number, image in enumerate(images):
            path = folder / role / images.names[images.labels[number]]
            with writing(path):
                path.mkdir(parents=True, exist_ok=True)
                image.save(path / f"{number:04}.png")
        print_line(f"{folder / role}: {len(images)} images of {len(images.names)} classes")


with lasting(), reporting_errors():
    typer.run(main)
