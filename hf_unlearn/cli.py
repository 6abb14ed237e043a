"""The command line, `hf-unlearn`; commands with much to say have modules of their own: `cli_*`."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hf_unlearn.card import plain
from hf_unlearn.cli_audit import audit_command
from hf_unlearn.cli_compose import compose
from hf_unlearn.cli_files import read_digests, read_images, read_lines, read_strings, read_synonyms, read_unlabelled
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
Skip = Annotated[
    bool, typer.Option("--skip-broken", help="Name and leave out images that can't be used, copies too; else stop.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@app.command()
def forget(
    forget: Annotated[list[str], typer.Option(help="Class to forget; give it once per class.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write the adapter.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder of images per class; or give --classes.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(help="File of all class names, one a line: forgets by names only, without images.")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="With --classes: folder of images, unsorted; those the model is sure of help.")
    ] = None,
    synonyms: Annotated[
        Path | None,
        typer.Option(help='JSON file of other names to forget classes under too, such as {"gun": ["pistol"]}.'),
    ] = None,
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
    skip_broken: Skip = False,
    seed: Annotated[int, typer.Option(help="Fixes the few-shot draw, the projection and the optimizer.")] = 0,
    as_json: Json = False,
) -> None:
    """Train an adapter that forgets classes, judge it, and save it.

    Example: hf-unlearn forget --model openai/clip-vit-base-patch32 --data pets/train --forget beagle
    --forget pug --out adapters/no-beagles

    Without images: hf-unlearn forget --classes names.txt --forget beagle --out adapters/no-beagles
    (better with --unlabelled FOLDER, images of whatever you have)

    On several GPUs: accelerate launch --num_processes 4 -m hf_unlearn forget ...
    """
    from hf_unlearn.adapter import ForgetAdapter
    from hf_unlearn.cli_finish import check_out, finish
    from hf_unlearn.clip import ClipBlackBox
    from hf_unlearn.data import split_names
    from hf_unlearn.unlearn import unlearn

    check_out(out_folder)
    if (data is None) == (classes is None):
        raise ValueError("give --data FOLDER with images, or --classes FILE to forget by names only")
    images = read_images(data, _names(names), skip_broken) if data else None
    if images and exclude:
        images = images.without(read_digests(exclude))
    if unlabelled and images:
        raise ValueError("--unlabelled goes with --classes; the images of --data are labelled already")
    listed = read_lines(classes, "--classes") if classes else None
    anything = read_unlabelled(unlabelled) if unlabelled else None
    others = read_synonyms(synonyms) if synonyms else None
    split_names(images.names if images else listed or [], forget)
    judged = read_images(test, _names(names), skip_broken) if test else None
    clip = ClipBlackBox(model, template=template)
    result = unlearn(
        clip, images, forget=forget, classes=listed, unlabelled=anything, max_queries=max_queries, method=method.value,
        shots=shots, n_ctx=n_ctx, strength=strength, patience=patience or None, seed=seed, run_dir=run_dir,
        init=ForgetAdapter.from_pretrained(init) if init else None, synonyms=others,
    )  # fmt: skip
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


@app.command(name="evaluate")
def evaluate_(
    adapter: Annotated[str, typer.Option(help="The adapter: a folder, or a repository on the Hub.")],
    data: Data,
    model: Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")] = None,
    names: Names = None,
    validation: Annotated[Path | None, typer.Option(help="Images the leakage probes are fitted on.")] = None,
    skip_broken: Skip = False,
    as_json: Json = False,
) -> None:
    """Judge an adapter on images, beside the plain model and a label mask."""
    from hf_unlearn.adapter import ForgetAdapter
    from hf_unlearn.evaluate import evaluate

    loaded = ForgetAdapter.from_pretrained(adapter)
    images = read_images(data, _names(names), skip_broken)
    fit = read_images(validation, _names(names), skip_broken) if validation else None
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


app.add_typer(compose)
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
    return read_strings(path, "--names") if path else None


def main() -> None:
    """Runs the command line; an error is one line on stderr and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        err.print(f"[bold red]error:[/] {escape(plain(str(error)))}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
