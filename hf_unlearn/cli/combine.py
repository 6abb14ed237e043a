"""The commands that make adapters from adapters: `hf-unlearn combine | without`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_unlearn.cli import options as given
from hf_unlearn.cli.images import Reading
from hf_unlearn.cli.inputs import read_name_list

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.labeled_images import LabeledImages
    from hf_unlearn.training.result import Result

compose = typer.Typer()

Adapters = Annotated[list[str], typer.Argument(help="Two or more adapters: folders, or repositories on the Hub.")]
NamesBack = Annotated[list[str], typer.Argument(help="Names to give back; at least one other must stay forgotten.")]


@compose.command(name="combine")
def combine_command(
    ctx: typer.Context,
    adapters: Adapters,
    out_folder: given.AdapterOut,
    data: given.Data = None,
    test: given.Test = None,
    leave_out: given.LeaveOut = None,
    max_queries: given.MaxQueries = 500,
    model: given.Base = None,
    revision: given.BaseRevision = None,
    subfolder: given.BaseSubfolder = None,
    strength: given.SameStrength = None,
    breadth: given.SameBreadth = None,
    shots: given.Shots = 16,
    seed: given.Seed = 0,
    vocabulary: given.Vocabulary = None,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    as_json: given.Json = False,
) -> None:
    """Make one adapter that forgets what any of several forgets.

    Edits are computed again from all names, without images: the result equals one request with all names. --data and
    --test only evaluate it.

    Contexts are trained further, from the best of them and from their mean, on --data or on the names alone. All must
    have one context length and template.

    A class that one adapter keeps and another forgets is forgotten. Give it back with `hf-unlearn without`.

    Example: hf-unlearn combine adapters/no-beer adapters/no-insects --out adapters/neither
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish
    from hf_unlearn.training.composition import combine

    check_out(out_folder)
    loaded = [ForgetAdapter.from_pretrained(adapter) for adapter in adapters]
    images, judged = Reading(leave_out=leave_out or ()).data_and_test(data, test)
    place = {"revision": revision, "subfolder": subfolder}
    clip = loaded[0].load_base(model, **place, device=device, dtype=dtype.value).model
    edit = {"strength": strength, "breadth": breadth, "vocabulary": vocabulary}
    request = _request(ctx, loaded[0], data, edit, max_queries=max_queries, shots=shots, seed=seed)
    result = combine(loaded, clip, images, **request)
    images, judged = _only_listed(result, images), _only_listed(result, judged)
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


@compose.command(name="without")
def without_command(
    ctx: typer.Context,
    adapter: given.Adapter,
    names: NamesBack,
    out_folder: given.AdapterOut,
    data: given.Data = None,
    test: given.Test = None,
    leave_out: given.LeaveOut = None,
    max_queries: given.MaxQueries = 300,
    model: given.Base = None,
    revision: given.BaseRevision = None,
    subfolder: given.BaseSubfolder = None,
    strength: given.SameStrength = None,
    breadth: given.SameBreadth = None,
    shots: given.Shots = 16,
    seed: given.Seed = 0,
    vocabulary: given.Vocabulary = None,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    as_json: given.Json = False,
) -> None:
    """Give names back: make an adapter that forgets only the remaining ones.

    An edit is computed again from the remaining names, without images. A context is trained further, on --data or on
    the names alone. To get everything back, use the base without an adapter.

    Example: hf-unlearn without adapters/no-alcohol "beer mug" --out adapters/beer-is-fine
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish
    from hf_unlearn.training.composition import without

    check_out(out_folder)
    loaded = ForgetAdapter.from_pretrained(adapter)
    images, judged = Reading(leave_out=leave_out or ()).data_and_test(data, test)
    place = {"revision": revision, "subfolder": subfolder}
    clip = loaded.load_base(model, **place, device=device, dtype=dtype.value).model
    edit = {"strength": strength, "breadth": breadth, "vocabulary": vocabulary}
    request = _request(ctx, loaded, data, edit, max_queries=max_queries, shots=shots, seed=seed)
    result = without(loaded, names, clip, images, **request)
    images, judged = _only_listed(result, images), _only_listed(result, judged)
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


def _request(
    ctx: typer.Context, adapter: ForgetAdapter, data: Path | None, edit: Mapping[str, Any], **search: int
) -> dict[str, Any]:
    """The keyword arguments of `combine` and `without`: of the search for a context, or the dials and words of an edit.

    Args:
        edit: `strength`, which a context has too, `breadth` and `vocabulary`, a file; None if not given.

    Raises:
        InputError: if an option is for the other kind.
    """
    is_edit = adapter.kind == "edit"
    given.refuse_other_kind(ctx, is_edit, measured=data is not None)
    request = {name: value for name, value in edit.items() if value is not None}
    if "vocabulary" in request:
        request["vocabulary"] = read_name_list(request["vocabulary"], "--vocabulary")
    return request if is_edit else request | search


def _only_listed(result: Result, images: LabeledImages | None) -> LabeledImages | None:
    """The images of the classes that the new adapter lists; all for an edit, which keeps unlisted classes."""
    config = result.adapter.config
    if config.kind == "edit":
        return images
    return images and images.only([*config.forget, *config.retain])
