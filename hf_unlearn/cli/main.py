"""The command line, `hf-unlearn`; commands with much to say have modules of their own: `cli_*`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hf_unlearn import console
from hf_unlearn.cli.audit import audit_command
from hf_unlearn.cli.combine import compose
from hf_unlearn.cli.forget import Data, Json, Names, Skip, forget
from hf_unlearn.cli.hub import hub
from hf_unlearn.cli.images import FIT, JUDGE, LeaveOut, Reading, tell_of_overlap

app = typer.Typer(
    help="Make any CLIP checkpoint forget the categories you choose, and keep everything else: by name in a second, "
    "or with scores alone. What you get is suppression on the text side, not erasure.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(forget)
app.command(name="audit")(audit_command)


@app.command(name="evaluate")
def evaluate_(
    adapter: Annotated[str, typer.Option(help="The adapter: a folder, or a repository on the Hub.")],
    data: Data,
    model: Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")] = None,
    names: Names = None,
    validation: Annotated[Path | None, typer.Option(help="Images the leakage probes are fitted on.")] = None,
    skip_broken: Skip = False,
    leave_out: LeaveOut = None,
    as_json: Json = False,
) -> None:
    """Judge an adapter on images, beside the plain model and a label mask."""
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.evaluation.evaluator import evaluate

    loaded = ForgetAdapter.from_pretrained(adapter)
    reading = Reading(names, skip_broken, leave_out or ())
    images = reading.images(data, JUDGE)
    fit = reading.images(validation, FIT, strict=False) if validation else None
    if fit is not None:
        tell_of_overlap(images, fit, "--validation")
    report = evaluate(loaded.load_base(model).model, images, loaded, validation=fit)
    if as_json:
        console.say_json(report.to_json())
    else:
        console.show(report)


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
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.export.checkpoint import check_out

    check_out(folder)
    ForgetAdapter.from_pretrained(adapter).export(folder, base=base, hardened=hardened)
    console.say(f"checkpoint saved in {folder}: pipeline('zero-shot-image-classification', model={str(folder)!r})")


app.add_typer(compose)
app.add_typer(hub)


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Where everything goes.")] = Path("runs/demo"),
    max_queries: Annotated[int, typer.Option(help="Queries for each of the two methods.")] = 300,
    as_json: Json = False,
) -> None:
    """The whole job on the embedded CLIP: forget alcohol, weapons, gambling and tobacco, keep everyday things."""
    from hf_unlearn.demo.walkthrough import tell

    report = tell(out_folder, max_queries, quiet=as_json)
    if as_json:
        console.say_json(report.to_json())


def main() -> None:
    """Runs the command line; an error is one line on stderr and exit code 2."""
    with console.lasting():
        try:
            app()
        except (ValueError, OSError) as error:
            console.tell("error", str(error))
            raise SystemExit(2) from None
