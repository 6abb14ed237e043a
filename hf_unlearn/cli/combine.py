"""The commands that make adapters from adapters: `hf-unlearn combine | without`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_unlearn.cli.forget import Vocabulary, refuse_other_kind
from hf_unlearn.cli.images import LeaveOut, Reading
from hf_unlearn.cli.inputs import read_name_list

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.labeled_images import LabeledImages
    from hf_unlearn.training.result import Result

compose = typer.Typer()

Data = Annotated[
    Path | None,
    typer.Option(help="Folder with one sub-folder of images per class; more classes do no harm. Else by names only."),
]
Out = Annotated[Path, typer.Option("--out", help="Where to write the new adapter; the old ones stay as they are.")]
Test = Annotated[
    Path | None, typer.Option(help="Folder of test images; else the test split of --data, or what --shots leaves over.")
]
Model = Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")]
Shots = Annotated[int, typer.Option(help="Images per class to train on; as many more validate.")]
Seed = Annotated[int, typer.Option(help="Fixes the few-shot draw, the projection and the optimizer.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@compose.command()
def combine(
    ctx: typer.Context,
    adapters: Annotated[list[str], typer.Argument(help="Two or more adapters: folders, or repositories on the Hub.")],
    out_folder: Out,
    data: Data = None,
    test: Test = None,
    leave_out: LeaveOut = None,
    max_queries: Annotated[int, typer.Option(help="Candidate contexts to score at most.")] = 500,
    model: Model = None,
    shots: Shots = 16,
    seed: Seed = 0,
    vocabulary: Vocabulary = None,
    as_json: Json = False,
) -> None:
    """Make one adapter that forgets what any of several forgets.

    Edits are computed again from all names, without images: what one request with all names would have made. --data
    and --test only measure it. Contexts are searched for again, from the best of theirs and their mean, with --data or
    by names only; all must be of one context length and template. A class that one adapter keeps and another forgets
    is forgotten; give it back with `hf-unlearn without`.

    Example: hf-unlearn combine adapters/no-beer adapters/no-insects --out adapters/neither
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish
    from hf_unlearn.training.composition import combine as combine_

    check_out(out_folder)
    loaded = [ForgetAdapter.from_pretrained(adapter) for adapter in adapters]
    images, judged = Reading(leave_out=leave_out or ()).data_and_test(data, test)
    clip = loaded[0].load_base(model).model
    options = _options(ctx, loaded[0], data, vocabulary, max_queries=max_queries, shots=shots, seed=seed)
    result = combine_(loaded, clip, images, **options)
    images, judged = _listed(result, images), _listed(result, judged)
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


@compose.command()
def without(
    ctx: typer.Context,
    adapter: Annotated[str, typer.Argument(help="The adapter: a folder, or a repository on the Hub.")],
    names: Annotated[list[str], typer.Argument(help="Classes to give back; some other must stay forgotten.")],
    out_folder: Out,
    data: Data = None,
    test: Test = None,
    leave_out: LeaveOut = None,
    max_queries: Annotated[int, typer.Option(help="Candidate contexts to score at most.")] = 300,
    model: Model = None,
    shots: Shots = 16,
    seed: Seed = 0,
    vocabulary: Vocabulary = None,
    as_json: Json = False,
) -> None:
    """Give names back: an adapter that forgets the rest as before.

    An edit is computed again from the names that are left, without images. A context is searched on from where it is,
    with --data or by names only. To have everything back, use the base without an adapter.

    Example: hf-unlearn without adapters/no-alcohol "beer mug" --out adapters/beer-is-fine
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish
    from hf_unlearn.training.composition import without as without_

    check_out(out_folder)
    loaded = ForgetAdapter.from_pretrained(adapter)
    images, judged = Reading(leave_out=leave_out or ()).data_and_test(data, test)
    clip = loaded.load_base(model).model
    options = _options(ctx, loaded, data, vocabulary, max_queries=max_queries, shots=shots, seed=seed)
    result = without_(loaded, names, clip, images, **options)
    images, judged = _listed(result, images), _listed(result, judged)
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


def _options(
    ctx: typer.Context, adapter: ForgetAdapter, data: Path | None, vocabulary: Path | None, **search: int
) -> dict[str, Any]:
    """What `combine` and `without` are told: of the search for a context, or of an edit's words.

    Raises:
        ValueError: if an option is given that is for the other kind.
    """
    is_edit = adapter.kind == "edit"
    refuse_other_kind(ctx, is_edit, measured=data is not None)
    held = {"vocabulary": read_name_list(vocabulary, "--vocabulary")} if vocabulary else {}
    return held if is_edit else search


def _listed(result: Result, images: LabeledImages | None) -> LabeledImages | None:
    """The images of the classes that the new adapter lists; all for an edit, which keeps whatever it does not list."""
    config = result.adapter.config
    if config.kind == "edit":
        return images
    return images and images.only([*config.forget, *config.retain])
