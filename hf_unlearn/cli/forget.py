"""The command `hf-unlearn forget`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hf_unlearn.cli import options as given
from hf_unlearn.cli.images import Reading, read_unlabelled
from hf_unlearn.cli.inputs import read_classes, read_digests, read_name_list, read_synonyms
from hf_unlearn.console import print_notice
from hf_unlearn.errors import InputError
from hf_unlearn.text import brief

if TYPE_CHECKING:
    from hf_unlearn.data.labeled_images import LabeledImages
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.training.result import Result


def forget_command(
    ctx: typer.Context,
    out_folder: given.AdapterOut,
    forget: given.Forget = None,
    forget_file: given.ForgetFile = None,
    model: given.Model = "embedded",
    revision: given.Revision = None,
    subfolder: given.Subfolder = None,
    method: given.MethodOption = None,
    keep: given.Keep = None,
    keep_file: given.KeepFile = None,
    breadth: given.Breadth = 0.5,
    strength: given.Strength = 0.5,
    vocabulary: given.Vocabulary = None,
    template: given.Template = "This is a photo of {}.",
    synonyms: given.Synonyms = None,
    data: given.Data = None,
    test: given.Test = None,
    names: given.Names = None,
    skip_broken: given.SkipBroken = False,
    leave_out: given.LeaveOut = None,
    exclude: given.Exclude = None,
    classes: given.Classes = None,
    unlabelled: given.Unlabelled = None,
    max_queries: given.MaxQueries = 2_000,
    shots: given.Shots = 16,
    n_ctx: given.ContextLength = None,
    patience: given.Patience = 600,
    run_dir: given.RunFolder = None,
    init: given.Init = None,
    seed: given.Seed = 0,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    as_json: given.Json = False,
) -> None:
    """Make an adapter that forgets names, evaluate it, and save it.

    By name, in about a second: hf-unlearn forget --model openai/clip-vit-base-patch32 --forget gun --forget knife
    --out adapters/no-weapons

    This is an edit of the text features. The command prints the words that it changes most. Protect some with --keep
    and run it again. With --data and --method edit, the images evaluate it.

    With scores alone, from labelled images: hf-unlearn forget --data pets/train --forget beagle
    --out adapters/no-beagles

    On several GPUs: accelerate launch --num_processes 4 -m hf_unlearn forget --data ...
    """
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish

    check_out(out_folder)
    if data is not None and classes is not None:
        raise InputError("give --data FOLDER with images, or --classes FILE for a run without images, not both")
    request = _read_request(forget, forget_file, keep, keep_file, classes, vocabulary, synonyms)
    is_edit = method is given.Method.edit or (method is None and data is None and classes is None)
    given.refuse_other_kind(ctx, is_edit, measured=data is not None)
    images, judged = Reading(names, skip_broken, leave_out or ()).data_and_test(data, test)
    if images is not None and exclude is not None:
        images = images.without(read_digests(exclude))
    if unlabelled and images:
        raise InputError("--unlabelled goes with --classes; the images of --data are labelled already")
    search: dict[str, Any] = {} if is_edit else {
        "unlabelled": read_unlabelled(unlabelled) if unlabelled else None, "max_queries": max_queries, "shots": shots,
        "n_ctx": n_ctx, "seed": seed, "patience": patience or None, "run_dir": run_dir, "init": init,
    }  # fmt: skip
    name = method.value if method else None
    where = {
        "template": template, "revision": revision, "subfolder": subfolder, "device": device, "dtype": dtype.value,
    }  # fmt: skip
    clip, result = _make(model, where, images, method=name, strength=strength, breadth=breadth, **request, **search)
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


def _read_request(
    forget: list[str] | None,
    forget_file: Path | None,
    keep: list[str] | None,
    keep_file: Path | None,
    classes: Path | None,
    vocabulary: Path | None,
    synonyms: Path | None,
) -> dict[str, Any]:
    """The arguments of `unlearn` that are names and words.

    Raises:
        InputError: if there is nothing to forget, or a file can't be read.
    """
    forgotten = [*(forget or ()), *(read_name_list(forget_file, "--forget-file") if forget_file else ())]
    kept = [*(keep or ()), *(read_name_list(keep_file, "--keep-file") if keep_file else ())]
    if not forgotten:
        raise InputError("nothing to forget: give --forget NAME, once per name, or --forget-file FILE")
    if joined := [name for name in (*(forget or ()), *(keep or ())) if "," in name]:
        print_notice("note", f"{brief(joined[0])} is one name; for several, repeat the option for each")
    return {
        "forget": forgotten,
        "keep": kept or None,
        "classes": read_classes(classes) if classes else None,
        "vocabulary": read_name_list(vocabulary, "--vocabulary") if vocabulary else None,
        "synonyms": read_synonyms(synonyms) if synonyms else None,
    }


def _make(
    model: str, where: dict[str, Any], images: LabeledImages | None, *, init: str | None = None, **request: Any
) -> tuple[ClipBlackBox, Result]:
    """Checks the names, which costs nothing, then loads the model and makes the adapter."""
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.data.class_names import split_names
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.training.unlearning import unlearn

    if images is not None or request["classes"] is not None:
        split_names(images.names if images else request["classes"], request["forget"])
    clip = ClipBlackBox(model, **where)
    if init:
        request["init"] = ForgetAdapter.from_pretrained(init)
    return clip, unlearn(clip, images, **request)
