"""The command `hf-unlearn audit`: exit code 0 pass, 1 fail, 2 could not run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hf_unlearn.cli.images import FIT, JUDGE, LEARN, LeaveOut, Reading, tell_of_overlap
from hf_unlearn.cli.inputs import read_strings, read_words
from hf_unlearn.console import say, say_json, show
from hf_unlearn.errors import InputError

if TYPE_CHECKING:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.auditing.auditor import Audit
    from hf_unlearn.data.labeled_images import LabeledImages

SHIPPED = "professions"
Limit = Annotated[float | None, typer.Option(min=0.0, max=1.0)]


@dataclass
class Material:
    """What an adapter is audited on: the keyword arguments of `audit` that are images and words."""

    images: LabeledImages
    extra: dict[str, Any] = field(default_factory=dict)


def audit_command(
    adapter: Annotated[str, typer.Option(help="The adapter: a folder, or a repository on the Hub.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with one sub-folder of test images per class; the demo's own if not given."),
    ] = None,
    validation: Annotated[
        Path | None, typer.Option(help="An attacker's own images, same classes; half of --data if not given.")
    ] = None,
    unlisted: Annotated[Path | None, typer.Option(help="Images of classes that the adapter does not list.")] = None,
    train: Annotated[
        Path | None, typer.Option(help="Images for --membership, one per drawing; those of --validation if not given.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Where the base is, if not where the adapter says.")] = None,
    names: Annotated[Path | None, typer.Option(help="JSON file, sub-folder -> class name, where they differ.")] = None,
    words: Annotated[
        Path | None, typer.Option(help='JSON file, kind -> class -> words, such as {"synonyms": {"cat": ["kitty"]}}.')
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help=f"JSON file, class -> group; '{SHIPPED}' is the one that comes with the demo.")
    ] = None,
    other: Annotated[list[str] | None, typer.Option(help="Another adapter of the same base, to borrow from.")] = None,
    membership: Annotated[bool, typer.Option(help="Also membership: trains many adapters, slow.")] = False,
    models: Annotated[int, typer.Option(min=4, help="Membership: adapters with, and as many without, a drawing.")] = 64,
    relearn_queries: Annotated[int, typer.Option(min=1, help="What the relearning attacker may spend.")] = 150,
    max_forget: Limit = None,
    max_attack: Limit = None,
    max_short_list: Limit = None,
    max_recoverability: Limit = None,
    max_retain_drop: Limit = None,
    max_class_drop: Limit = None,
    max_collateral: Limit = None,
    max_group_gap: Limit = None,
    max_epsilon: Annotated[float | None, typer.Option(min=0.0, help="Any number; needs --membership.")] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out images that can't be used, copies too; name the first.")
    ] = False,
    leave_out: LeaveOut = None,
    seed: Annotated[int, typer.Option(help="Fixes every draw.")] = 0,
    out_folder: Annotated[Path | None, typer.Option("--out", help="Where audit.json, audit.md, pictures go.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Attack an adapter and say how far its forgetting goes: exit code 0 pass, 1 fail, 2 could not run.

    Limits (--max-…) are shares from 0 to 1. What is measured is suppression on the text side, no erasure.
    """
    given = {
        "max_forget": max_forget, "max_attack": max_attack, "max_short_list": max_short_list,
        "max_recoverability": max_recoverability, "max_retain_drop": max_retain_drop,
        "max_class_drop": max_class_drop, "max_collateral": max_collateral, "max_group_gap": max_group_gap,
        "max_epsilon": max_epsilon,
    }  # fmt: skip
    from hf_unlearn.auditing.report import check_out

    try:
        if out_folder is not None:
            check_out(out_folder)
        result = _audit(
            adapter, data, validation, unlisted, train, model, Reading(names, skip_broken, leave_out or ()), words,
            groups, other or [], membership,
            {key: value for key, value in given.items() if value is not None},
            {"models": models, "relearn_queries": relearn_queries, "seed": seed, "progress": not as_json},
        )  # fmt: skip
        if out_folder is not None:
            result.save(out_folder)
        if as_json:
            say_json(result.to_json())
        else:
            show(result)
            if out_folder is not None:
                say(f"saved in {out_folder}: audit.json, audit.md and pictures")
    except KeyboardInterrupt:
        raise InputError("interrupted; the audit says nothing") from None
    except (ValueError, OSError):
        raise
    except Exception as error:  # Python's own exit code 1 would read as "the adapter failed"
        raise InputError(f"the audit could not run: {type(error).__name__}: {error}") from error
    raise typer.Exit(0 if result.passed else 1)


def _audit(
    where: str,
    data: Path | None,
    validation: Path | None,
    unlisted: Path | None,
    train: Path | None,
    model: str | None,
    reading: Reading,
    words: Path | None,
    groups: str | None,
    others: list[str],
    membership: bool,
    limits: dict[str, float],
    options: dict[str, Any],
) -> Audit:
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.auditing.auditor import Thresholds, audit

    thresholds = Thresholds(**limits)
    adapter = ForgetAdapter.from_pretrained(where)
    if "max_group_gap" in limits and groups is None:
        raise InputError("--max-group-gap needs --groups")
    if "max_epsilon" in limits and not membership:
        raise InputError("--max-epsilon needs --membership")
    if data is None:
        of_data = {"validation": validation, "names": reading.names, "train": train, "leave-out": reading.leave_out}
        if given := next((name for name, value in of_data.items() if value), None):
            raise InputError(f"--{given} goes with --data; without it the demo's images are used")
        material = demo_material(adapter, membership)
    else:
        judged = reading.images(data, JUDGE)
        if validation:
            own = reading.images(validation, FIT, strict=False)
            tell_of_overlap(judged, own, "--validation")
            material = Material(judged, {"validation": own})
        else:
            material = folder_material(judged, options["seed"])
        if membership:
            trained = reading.images(train, LEARN, strict=False) if train else material.extra["validation"]
            material.extra["training"] = trained
    if unlisted:
        material.extra["unlisted"] = Reading(skip_broken=reading.skip_broken).images(unlisted, JUDGE)
        material.extra.pop("unlisted_validation", None)
    if words:
        kinds = read_words(words)
        material.extra["synonyms"] = {**material.extra.get("synonyms", {}), **kinds.pop("synonyms", {})}
        material.extra["vocabulary"] = {**material.extra.get("vocabulary", {}), **kinds}
    if groups is not None:
        material.extra.update(_groups(groups, adapter, data is None, material.extra.get("unlisted")))
    material.extra["others"] = {one: ForgetAdapter.from_pretrained(one) for one in others}
    base = adapter.load_base(model).model
    return audit(base, adapter, material.images, thresholds=thresholds, **material.extra, **options)


def folder_material(images: LabeledImages, seed: int) -> Material:
    """Every class halved: one half is judged, the other is the attacker's own."""
    judged, own, _ = images.few_shot(len(images), seed)
    return Material(judged, {"validation": own})


def demo_material(adapter: ForgetAdapter, membership: bool) -> Material:
    """The embedded base's own images, synonyms and words.

    Raises:
        ValueError: if the adapter is not of the embedded base and its concepts.
    """
    from hf_unlearn.demo import emoji_tasks as demo
    from hf_unlearn.models.embedded import EMBEDDED

    config = adapter.config
    names = (*config.forget, *config.retain)
    if adapter.kind == "edit":  # it keeps everything else, listed or not
        kept = (name for name in (*config.retain, *demo.tasks()["moderation"][0]["names"]) if name in demo.concepts())
        names = tuple(dict.fromkeys((*config.forget, *kept)))
    if config.base_model != EMBEDDED or not set(names) <= set(demo.concepts()):
        raise InputError(
            "give the images to audit it on with --data FOLDER: only adapters of the embedded CLIP for classes of "
            "the demo come with images"
        )
    task = demo.task_of(names, tuple(config.forget))
    extra: dict[str, Any] = {
        "validation": task.validation,
        "unlisted": task.unlisted,
        "unlisted_validation": task.unlisted_validation,
        "synonyms": task.synonyms,
        "vocabulary": demo.attack_words(),
        "pictures": demo.by_artist(task.forget, "test"),
        "drawings": demo.drawing_numbers(names, "test", demo.JUDGED),
    }
    if membership:
        extra["training"] = demo.plain(names, "train")
    return Material(task.test, extra)


def _groups(source: str, adapter: ForgetAdapter, of_demo: bool, unlisted: LabeledImages | None) -> dict[str, Any]:
    from hf_unlearn.demo import emoji_tasks as demo

    path = demo.PROFESSIONS if source == SHIPPED and not Path(source).exists() else Path(source)
    groups = read_strings(path, "--groups")
    listed = {*adapter.config.forget, *adapter.config.retain}
    strangers = [name for name in groups if name not in listed]
    if of_demo and strangers and set(strangers) <= set(demo.concepts()):
        return {"groups": groups, "group_pictures": demo.plain(strangers, "test")}
    return {"groups": groups, "group_pictures": unlisted if strangers else None}
