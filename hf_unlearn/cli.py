"""The command line: `hf-unlearn forget | evaluate | export | audit | push | pull | list | info | demo`."""

from __future__ import annotations

import json
import re
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hf_unlearn.cli_audit import audit_command
from hf_unlearn.cli_hub import hub

app = typer.Typer(
    help="Make any CLIP checkpoint forget the categories you choose: no gradients, weights untouched. "
    "What you get is suppression behind a prompt, not erasure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="audit")(audit_command)
out, err = Console(), Console(stderr=True)


class Method(str, Enum):
    """How to search; `proximal` reads every score, the others are the paper's CMA-ES variants."""

    proximal = "proximal"
    lcs_cma = "lcs-cma"
    lcs_cma_paper = "lcs-cma-paper"
    bbt_cma = "bbt-cma"
    ind_cma = "ind-cma"


Model = Annotated[str, typer.Option(help="CLIP to adapt: a Hub id, a folder, or 'embedded' (the one in this package).")]
Data = Annotated[Path, typer.Option(help="Folder with one sub-folder of images per class.")]
Names = Annotated[Path | None, typer.Option(help="JSON file, sub-folder -> class name, where they differ.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def forget(
    data: Data,
    forget: Annotated[list[str], typer.Option(help="Class to forget; give it once per class.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write the adapter.")],
    model: Model = "embedded",
    names: Names = None,
    test: Annotated[Path | None, typer.Option(help="Folder of test images; else what --shots leaves over.")] = None,
    max_queries: Annotated[int, typer.Option(help="Candidate contexts to score at most.")] = 2_000,
    method: Annotated[Method, typer.Option(help="Optimizer.")] = Method.proximal,
    shots: Annotated[int, typer.Option(help="Images per class to train on; as many more validate.")] = 16,
    n_ctx: Annotated[int | None, typer.Option(help="Context length in tokens; the method's own if not given.")] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 is gentle (keep the rest as it is), 1 forgets whatever it costs.")
    ] = 0.5,
    template: Annotated[str, typer.Option(help="Prompt around a class name.")] = "This is a photo of {}.",
    patience: Annotated[int, typer.Option(help="Stop after so many queries without improvement; 0 never.")] = 600,
    run_dir: Annotated[
        Path | None, typer.Option(help="Private folder for the run's state; the same command takes it up again.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(help="File of images to leave out, one path or SHA-256 of a file per line.")
    ] = None,
    init: Annotated[str | None, typer.Option(help="A finished adapter whose context is the start.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes the few-shot draw, the projection and the optimizer.")] = 0,
    as_json: Json = False,
) -> None:
    """Train an adapter that forgets classes, judge it, and save it.

    Example: hf-unlearn forget --model openai/clip-vit-base-patch32 --data pets/train --forget beagle
    --forget pug --out adapters/no-beagles

    On several GPUs: accelerate launch --num_processes 4 -m hf_unlearn forget ...
    """
    from hf_unlearn.adapter import ForgetAdapter
    from hf_unlearn.black_box import ClipBlackBox
    from hf_unlearn.data import LabeledImages, split_names
    from hf_unlearn.evaluate import evaluate
    from hf_unlearn.processes import Crew
    from hf_unlearn.unlearn import unlearn

    if out_folder.exists() and not (out_folder / "config.json").exists() and any(out_folder.iterdir()):
        raise ValueError(f"{out_folder}: exists and is no adapter; choose another --out")
    images = LabeledImages.from_folder(data, _names(names))
    if exclude:
        images = images.without(_digests(exclude))
    split_names(images.names, forget)
    judged = LabeledImages.from_folder(test, _names(names)) if test else None
    clip = ClipBlackBox(model, template=template)
    result = unlearn(
        clip, images, forget=forget, max_queries=max_queries, method=method.value, shots=shots, n_ctx=n_ctx,
        strength=strength, patience=patience or None, seed=seed, run_dir=run_dir,
        init=ForgetAdapter.from_pretrained(init) if init else None,
    )  # fmt: skip
    crew = Crew()
    crew.leave()
    if not crew.is_main:
        return
    _, validation, rest = images.few_shot(shots, seed)
    kind = "test"
    if judged is None:
        judged, kind = (rest, "held-out") if all(rest.counts().values()) else (validation, "validation")
    report = evaluate(clip, judged, result.adapter, validation=validation if kind != "validation" else None, kind=kind)
    result.adapter.with_report(report.content).save_pretrained(out_folder)
    if as_json:
        print(report.to_json())
        return
    out.print(f"stopped after {result.history[-1].queries:,} queries: {result.reason.value}")
    out.print(report)
    out.print(f"adapter saved in {out_folder}")


@app.command(name="evaluate")
def evaluate_(
    adapter: Annotated[str, typer.Option(help="The adapter: a folder, or a repository on the Hub.")],
    data: Data,
    model: Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")] = None,
    names: Names = None,
    validation: Annotated[Path | None, typer.Option(help="Images the leakage probes are fitted on.")] = None,
    as_json: Json = False,
) -> None:
    """Judge an adapter on images, beside the plain model and a label mask."""
    from hf_unlearn.adapter import ForgetAdapter
    from hf_unlearn.data import LabeledImages
    from hf_unlearn.evaluate import evaluate

    loaded = ForgetAdapter.from_pretrained(adapter)
    images = LabeledImages.from_folder(data, _names(names))
    fit = LabeledImages.from_folder(validation, _names(names)) if validation else None
    report = evaluate(loaded.load_base(model).model, images, loaded, validation=fit)
    if as_json:
        print(report.to_json())
    else:
        out.print(report)


@app.command()
def export(
    adapter: Annotated[str, typer.Argument(help="The adapter: a folder, or a repository on the Hub.")],
    folder: Annotated[Path, typer.Argument(help="Where to write the checkpoint: a new or empty folder.")],
    base: Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")] = None,
    hardened: Annotated[
        bool, typer.Option("--hardened", help="Also project the forgotten names out of the text projection.")
    ] = False,
) -> None:
    """Write a plain transformers checkpoint that forgets by itself; this library is not needed to load it."""
    from hf_unlearn.adapter import ForgetAdapter

    ForgetAdapter.from_pretrained(adapter).export(folder, base=base, hardened=hardened)
    out.print(f"checkpoint saved in {folder}: pipeline('zero-shot-image-classification', model='{folder}')")


app.add_typer(hub)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/demo"),
    max_queries: Annotated[int, typer.Option(help="Queries for each of the two methods.")] = 300,
    as_json: Json = False,
) -> None:
    """The whole job on the embedded CLIP: forget alcohol, weapons, gambling and tobacco, keep everyday things."""
    from hf_unlearn.demo.story import tell

    report = tell(out_folder, max_queries, quiet=as_json)
    if as_json:
        print(report.to_json())


def _names(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"--names {path}: no such file") from error
    except ValueError as error:
        raise ValueError(f"--names {path}: not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise ValueError(f"--names {path}: expected a JSON object, sub-folder -> class name")
    return content


def _digests(path: Path) -> set[str]:
    """SHA-256 of the images that a file names, by path or by that digest."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {
            line.lower() if re.fullmatch("[0-9a-fA-F]{64}", line) else sha256(Path(line).read_bytes()).hexdigest()
            for line in lines
        }
    except FileNotFoundError as error:
        raise ValueError(f"--exclude {path}: no such file: {error.filename}") from error


def main() -> None:
    """Runs the command line; an error is one line on stderr and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        err.print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
