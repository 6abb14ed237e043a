"""The command `hf-unlearn forget`, and the options that commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from hf_unlearn.cli.images import Reading, read_unlabelled
from hf_unlearn.cli.inputs import read_classes, read_digests, read_name_list, read_synonyms
from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.methods import METHODS


class Method(str, Enum):
    """`edit`, which is closed form, and the registered methods that search for a context."""

    _ignore_ = "members method"
    edit = "edit"
    members = vars()
    for method in METHODS:
        members[method] = method


Model = Annotated[str, typer.Option(help="CLIP to adapt: a Hub id, a folder, or 'embedded' (the one in this package).")]
Data = Annotated[Path, typer.Option(help="Folder with one sub-folder of images per class.")]
NAMES_HELP = "JSON file, sub-folder -> class name, where they differ; or 'auto': underscores are read as spaces."
Names = Annotated[Path | None, typer.Option(help=NAMES_HELP)]
Skip = Annotated[
    bool,
    typer.Option("--skip-broken", help="Leave out images that can't be used, copies too; name the first; else stop."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
ONE_A_LINE = "one a line (not those that begin with '# ')"
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        help=f"File of words that an edit holds in place, {ONE_A_LINE}; else the tokenizer's.", rich_help_panel="Edits"
    ),
]
OF_CONTEXT = ("unlabelled", "n_ctx", "run_dir", "init", "patience", "max_queries", "shots", "seed")
OF_EDIT = ("keep", "keep_file", "breadth", "vocabulary")
EDIT, SEARCH, IMAGES = "Edits", "Contexts (search with scores)", "Images"  # groups of --help


def forget(
    ctx: typer.Context,
    out_folder: Annotated[Path, typer.Option("--out", help="Where to write the adapter.")],
    forget: Annotated[list[str] | None, typer.Option(help="Name to forget; give it once per name.")] = None,
    forget_file: Annotated[Path | None, typer.Option(help=f"File of names to forget, {ONE_A_LINE}.")] = None,
    model: Model = "embedded",
    method: Annotated[
        Method | None, typer.Option(help="How; edit where neither --data nor --classes is given, else proximal.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Name to protect, once per name; all else is kept too.", rich_help_panel=EDIT),
    ] = None,
    keep_file: Annotated[
        Path | None, typer.Option(help=f"File of names to protect, {ONE_A_LINE}.", rich_help_panel=EDIT)
    ] = None,
    breadth: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="0 forgets the names as such, 1 all that lies around them.", rich_help_panel=EDIT
        ),
    ] = 0.5,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="0 is gentle (keep the rest as it is), 1 forgets whatever it costs.")
    ] = 0.5,
    vocabulary: Vocabulary = None,
    template: Annotated[str, typer.Option(help="Prompt around a class name.")] = "This is a photo of {}.",
    synonyms: Annotated[
        Path | None,
        typer.Option(help='JSON file of other names to forget too, such as {"gun": ["pistol"]}.'),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with one sub-folder of images per class.", rich_help_panel=IMAGES)
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Folder of test images; else the test split of --data, or what --shots leaves over.",
            rich_help_panel=IMAGES,
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help=NAMES_HELP, rich_help_panel=IMAGES),
    ] = None,
    skip_broken: Annotated[
        bool,
        typer.Option(
            "--skip-broken",
            help="Leave out images that can't be used, copies too; name the first; else stop.",
            rich_help_panel=IMAGES,
        ),
    ] = False,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="Class of --data and --test to leave out; once per class.", rich_help_panel=IMAGES),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option(help="File of images to leave out, one path or SHA-256 a line.", rich_help_panel=IMAGES),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(help=f"File of all class names, {ONE_A_LINE}: searches without images.", rich_help_panel=SEARCH),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(help="With --classes: folder of unsorted images, which help.", rich_help_panel=SEARCH),
    ] = None,
    max_queries: Annotated[
        int, typer.Option(help="Candidate contexts to score at most.", rich_help_panel=SEARCH)
    ] = 2_000,
    shots: Annotated[
        int, typer.Option(help="Images per class to train on; as many more validate.", rich_help_panel=SEARCH)
    ] = 16,
    n_ctx: Annotated[
        int | None,
        typer.Option(help="Context length in tokens; the method's own if not given.", rich_help_panel=SEARCH),
    ] = None,
    patience: Annotated[
        int, typer.Option(help="Stop after so many queries without improvement; 0 never.", rich_help_panel=SEARCH)
    ] = 600,
    run_dir: Annotated[
        Path | None,
        typer.Option(help="Private folder for the run's state; the same command resumes it.", rich_help_panel=SEARCH),
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="A finished context adapter to start from.", rich_help_panel=SEARCH)
    ] = None,
    seed: Annotated[int, typer.Option(help="Fixes the few-shot draw, the projection and the optimizer.")] = 0,
    as_json: Json = False,
) -> None:
    """Make an adapter that forgets names, evaluate it, and save it.

    By name, in about a second: hf-unlearn forget --model openai/clip-vit-base-patch32 --forget gun --forget knife
    --out adapters/no-weapons

    That is an edit of the text features. It prints the words it changes most; protect some with --keep and look again.
    With --data and --method edit, the images measure it.

    With scores alone, from labelled images: hf-unlearn forget --data pets/train --forget beagle
    --out adapters/no-beagles

    On several GPUs: accelerate launch --num_processes 4 -m hf_unlearn forget --data ...
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out
    from hf_unlearn.cli.outputs import finish
    from hf_unlearn.data.class_names import split_names
    from hf_unlearn.models.clip import ClipBlackBox
    from hf_unlearn.training.unlearning import unlearn

    check_out(out_folder)
    if data is not None and classes is not None:
        raise InputError("give --data FOLDER with images, or --classes FILE for a run without images, not both")
    gone = [*(forget or ()), *(read_name_list(forget_file, "--forget-file") if forget_file else ())]
    kept = [*(keep or ()), *(read_name_list(keep_file, "--keep-file") if keep_file else ())]
    if not gone:
        raise InputError("nothing to forget: give --forget NAME, once per name, or --forget-file FILE")
    is_edit = method is Method.edit or (method is None and data is None and classes is None)
    refuse_other_kind(ctx, is_edit, measured=data is not None)
    images, judged = Reading(names, skip_broken, leave_out or ()).data_and_test(data, test)
    if images is not None and exclude is not None:
        images = images.without(read_digests(exclude))
    if unlabelled and images:
        raise InputError("--unlabelled goes with --classes; the images of --data are labelled already")
    listed = read_classes(classes) if classes else None
    held = read_name_list(vocabulary, "--vocabulary") if vocabulary else None
    anything = read_unlabelled(unlabelled) if unlabelled else None
    others = read_synonyms(synonyms) if synonyms else None
    if images is not None or listed is not None:
        split_names(images.names if images else listed or [], gone)
    clip = ClipBlackBox(model, template=template)
    search: dict[str, Any] = {} if is_edit else {
        "unlabelled": anything, "max_queries": max_queries, "shots": shots, "n_ctx": n_ctx, "seed": seed,
        "patience": patience or None, "run_dir": run_dir, "init": ForgetAdapter.from_pretrained(init) if init else None,
    }  # fmt: skip
    result = unlearn(
        clip, images, forget=gone, keep=kept or None, classes=listed, vocabulary=held, synonyms=others,
        method=method.value if method else None, strength=strength, breadth=breadth, **search,
    )  # fmt: skip
    finish(result, clip, images, judged, shots=shots, seed=seed, folder=out_folder, as_json=as_json)


def refuse_other_kind(ctx: typer.Context, is_edit: bool, measured: bool) -> None:
    """Of the options on the command line.

    Args:
        measured: whether an edit is measured on images; then the seed halves them.

    Raises:
        ValueError: if one is for the other kind of adapter.
    """
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    if is_edit:
        others = [name for name in OF_CONTEXT if name in given and not (name == "seed" and measured)]
        why = "is for a context, and an edit is made here; leave it out"
        why += ", or give --data (or --classes) and --method proximal" if "method" in ctx.params else ""
    else:
        others = [name for name in OF_EDIT if name in given]
        why = "is for an edit, and a context is made here; it keeps every class that is not forgotten"
    if others:
        raise InputError(f"--{others[0].replace('_', '-')} {why}")
