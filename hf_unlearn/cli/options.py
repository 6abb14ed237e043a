"""The options and arguments of the commands: what each is called, what `--help` says of it, which group it is in."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from hf_unlearn.errors import InputError
from hf_unlearn.optimizers.methods import METHODS

EDITS, CONTEXTS, IMAGES = "Edits", "Contexts (search with scores)", "Images"  # groups of --help
ONE_A_LINE = "one per line (lines that begin with '# ' are comments)"
ONLY_CONTEXTS = ("unlabelled", "n_ctx", "run_dir", "init", "patience", "max_queries", "shots", "seed")
ONLY_EDITS = ("keep", "keep_file", "breadth", "vocabulary")


class Method(str, Enum):
    """`edit`, which is closed form, and the registered methods that search for a context."""

    _ignore_ = "members method"
    edit = "edit"
    members = vars()
    for method in METHODS:
        members[method] = method


class Dtype(str, Enum):
    """Precisions to load a model in."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


# Of several commands
Adapter = Annotated[str, typer.Argument(help="The adapter: a folder, or a repository on the Hub.")]
AdapterOption = Annotated[str, typer.Option("--adapter", help="The adapter: a folder, or a repository on the Hub.")]
Base = Annotated[str | None, typer.Option(help="The base model: a Hub id or a folder; default: as the adapter says.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Seed = Annotated[int, typer.Option(help="Fixes the few-shot draw, the projection and the optimizer.")]
Model = Annotated[str, typer.Option(help="The CLIP: a Hub id, a folder, or 'embedded' (a small one in this package).")]
Template = Annotated[str, typer.Option(help="Prompt around a class name.")]
Strength = Annotated[
    float,
    typer.Option(min=0, max=1, help="0 keeps the rest unchanged, 1 forgets at any cost to the rest."),
]

Device = Annotated[
    str | None, typer.Option(help="Where to run: cpu, cuda, cuda:1, mps; default: a GPU if there is one.")
]
Revision = Annotated[str | None, typer.Option(help="Commit, tag or branch of the CLIP on the Hub; default: main.")]
Subfolder = Annotated[str | None, typer.Option(help="Where in its repository or folder the CLIP is.")]
BaseRevision = Annotated[
    str | None,
    typer.Option("--revision", help="Commit, tag or branch of the base on the Hub; default: as the adapter says."),
]
BaseSubfolder = Annotated[
    str | None,
    typer.Option("--subfolder", help="Where in its repository or folder the base is; default: as the adapter says."),
]
Precision = Annotated[Dtype, typer.Option(help="Precision of the model; less than float32 costs quality.")]

# Names
Forget = Annotated[list[str] | None, typer.Option(help="Name to forget; once per name.")]
ForgetFile = Annotated[Path | None, typer.Option(help=f"File of names to forget, {ONE_A_LINE}.")]
Synonyms = Annotated[
    Path | None, typer.Option(help='JSON file of other names to forget too, such as {"gun": ["pistol"]}.')
]
MethodOption = Annotated[
    Method | None,
    typer.Option("--method", help="Default: edit; with --data or --classes: proximal."),
]
AdapterOut = Annotated[Path, typer.Option("--out", help="Folder for the new adapter; other adapters are unchanged.")]

# Edits
Keep = Annotated[
    list[str] | None,
    typer.Option(help="Name to protect, once per name; others are kept too.", rich_help_panel=EDITS),
]
KeepFile = Annotated[Path | None, typer.Option(help=f"File of names to protect, {ONE_A_LINE}.", rich_help_panel=EDITS)]
Breadth = Annotated[
    float,
    typer.Option(
        min=0, max=1, help="0 forgets the names alone, 1 everything related to them too.", rich_help_panel=EDITS
    ),
]
SameBreadth = Annotated[
    float | None,
    typer.Option(
        "--breadth", min=0, max=1, help="As for forget; default: as the edits were made.", rich_help_panel=EDITS
    ),
]
SameStrength = Annotated[
    float | None,
    typer.Option("--strength", min=0, max=1, help="As for forget; default: as the edits were made, 0.5 for contexts."),
]
Vocabulary = Annotated[
    Path | None,
    typer.Option(
        help=f"File of words that an edit keeps unchanged, {ONE_A_LINE}; default: the words of the tokenizer.",
        rich_help_panel=EDITS,
    ),
]

# Images
FOLDER = "Folder with one sub-folder of images per class, or hf://datasets/USER/NAME on the Hub."
Data = Annotated[Path | None, typer.Option(help=FOLDER, rich_help_panel=IMAGES)]
RequiredData = Annotated[Path, typer.Option("--data", help=FOLDER, rich_help_panel=IMAGES)]
Test = Annotated[
    Path | None,
    typer.Option(
        help="Folder of test images; default: the test split of --data, or what --shots leaves over.",
        rich_help_panel=IMAGES,
    ),
]
Names = Annotated[
    Path | None,
    typer.Option(
        help="JSON file, sub-folder -> class name, where they differ; or 'auto': underscores become spaces.",
        rich_help_panel=IMAGES,
    ),
]
SkipBroken = Annotated[
    bool,
    typer.Option(
        "--skip-broken",
        help="Skip unusable images and copies, and name the first few; default: stop at the first.",
        rich_help_panel=IMAGES,
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(help="Class to leave out, by name or sub-folder; once per class.", rich_help_panel=IMAGES),
]
Exclude = Annotated[
    Path | None,
    typer.Option(help="File of images to leave out, one path or SHA-256 per line.", rich_help_panel=IMAGES),
]
Validation = Annotated[
    Path | None, typer.Option(help="Folder of images to fit the leakage probes on.", rich_help_panel=IMAGES)
]

# Contexts
Classes = Annotated[
    Path | None,
    typer.Option(help=f"File of all class names, {ONE_A_LINE}: the search needs no images.", rich_help_panel=CONTEXTS),
]
Unlabelled = Annotated[
    Path | None,
    typer.Option(help="With --classes: folder of unlabelled images, which help.", rich_help_panel=CONTEXTS),
]
MaxQueries = Annotated[int, typer.Option(help="Candidate contexts to score at most.", rich_help_panel=CONTEXTS)]
Shots = Annotated[
    int, typer.Option(help="Images per class to train on; as many more validate.", rich_help_panel=CONTEXTS)
]
ContextLength = Annotated[
    int | None,
    typer.Option("--n-ctx", help="Context length in tokens; default: the method's.", rich_help_panel=CONTEXTS),
]
Patience = Annotated[
    int,
    typer.Option(help="Stop after so many queries without improvement; 0: never.", rich_help_panel=CONTEXTS),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", help="Private folder for the run's state; the same command resumes it.", rich_help_panel=CONTEXTS
    ),
]
Init = Annotated[
    str | None, typer.Option(help="A finished context adapter to warm-start from.", rich_help_panel=CONTEXTS)
]


def refuse_other_kind(ctx: typer.Context, is_edit: bool, measured: bool) -> None:
    """Checks that every option on the command line is for the kind of adapter that is made.

    Args:
        measured: whether an edit is evaluated on images; the seed then divides them.

    Raises:
        InputError: if an option is for the other kind.
    """
    given = [name for name in ctx.params if (source := ctx.get_parameter_source(name)) and source.name == "COMMANDLINE"]
    if is_edit:
        others = [name for name in ONLY_CONTEXTS if name in given and not (name == "seed" and measured)]
        why = "is for a context, and an edit is made here; leave it out"
        why += ", or give --data (or --classes) and --method proximal" if "method" in ctx.params else ""
    else:
        others = [name for name in ONLY_EDITS if name in given]
        why = "is for an edit, and a context is made here; it keeps every class that is not forgotten"
    if others:
        raise InputError(f"--{others[0].replace('_', '-')} {why}")
