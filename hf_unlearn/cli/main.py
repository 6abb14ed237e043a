"""The command line, `hf-unlearn`. Commands import the library when they run, so that `--help` loads no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_unlearn import console
from hf_unlearn.cli import options as given
from hf_unlearn.cli.audit import audit_command
from hf_unlearn.cli.combine import compose
from hf_unlearn.cli.convert import convert_command
from hf_unlearn.cli.forget import forget_command
from hf_unlearn.cli.hub import hub
from hf_unlearn.cli.images import EVALUATE, FIT, Reading, warn_of_overlap
from hf_unlearn.errors import BrokenFilesError, MissingBaseError, OtherVocabularyError

HINTS = {  # what the command line adds to a message of the library
    BrokenFilesError: ", or skip what is broken with --skip-broken",
    OtherVocabularyError: " (--vocabulary FILE)",
    MissingBaseError: "; on the command line: --model FOLDER, and --base FOLDER for export",
}

app = typer.Typer(
    help="Make any CLIP checkpoint forget chosen categories and keep the rest: by name in a second, or with scores "
    "alone. This is suppression on the text side, not erasure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(name="forget")(forget_command)
app.command(name="audit")(audit_command)


@app.command(name="evaluate")
def evaluate_(
    adapter: given.AdapterOption,
    data: given.RequiredData,
    model: given.Base = None,
    revision: given.BaseRevision = None,
    subfolder: given.BaseSubfolder = None,
    names: given.Names = None,
    validation: given.Validation = None,
    skip_broken: given.SkipBroken = False,
    leave_out: given.LeaveOut = None,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    as_json: given.Json = False,
) -> None:
    """Evaluate an adapter on images, beside the base model and a label mask.

    Example: hf-unlearn evaluate --adapter adapters/no-beagles --data pets/test
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.evaluation.evaluator import evaluate

    loaded = ForgetAdapter.from_pretrained(adapter)
    reading = Reading(names, skip_broken, leave_out or ())
    images = reading.images(data, EVALUATE)
    fit = reading.images(validation, FIT, strict=False) if validation else None
    if fit is not None:
        warn_of_overlap(images, fit, "--validation")
    place = {"revision": revision, "subfolder": subfolder}
    base = loaded.load_base(model, **place, device=device, dtype=dtype.value).model
    report = evaluate(base, images, loaded, validation=fit)
    if as_json:
        console.print_json(report.to_json())
    else:
        console.print_rich(report)


@app.command()
def export(
    adapter: given.Adapter,
    folder: Annotated[Path, typer.Argument(help="Where to write the checkpoint: a new or empty folder.")],
    base: given.Base = None,
    revision: given.BaseRevision = None,
    subfolder: given.BaseSubfolder = None,
    hardened: Annotated[
        bool, typer.Option("--hardened", help="Also project the forgotten names out of the text projection.")
    ] = False,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
) -> None:
    """Export a plain transformers checkpoint that forgets by itself; loading it needs no hf_unlearn.

    Example: hf-unlearn export adapters/no-beagles checkpoints/no-beagles
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.export.checkpoint import check_out

    check_out(folder)
    loaded = ForgetAdapter.from_pretrained(adapter)
    place = {"base": base, "revision": revision, "subfolder": subfolder, "device": device}
    loaded.export(folder, **place, hardened=hardened, dtype=dtype.value)
    console.print_line(
        f"checkpoint saved in {folder}: pipeline('zero-shot-image-classification', model={str(folder)!r})"
    )


app.command(name="convert")(convert_command)
app.add_typer(compose)
app.add_typer(hub)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the adapters.")] = Path("runs/demo"),
    max_queries: Annotated[int, typer.Option(help="Queries for each of the two searches.")] = 300,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    as_json: given.Json = False,
) -> None:
    """Run the whole job on the embedded CLIP: forget alcohol, weapons, gambling and tobacco, keep everyday things."""
    from hf_unlearn.demo.walkthrough import walk_through

    report = walk_through(out_folder, max_queries, quiet=as_json, device=device, dtype=dtype.value)
    if as_json:
        console.print_json(report.to_json())


def main() -> None:
    """Runs the command line; an error of the library is one line on stderr and exit code 2."""
    with console.lasting(), console.reporting_errors(HINTS):
        app()
