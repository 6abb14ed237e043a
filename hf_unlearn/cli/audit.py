"""The command `hf-unlearn audit`: exit code 0 pass, 1 fail, 2 could not run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hf_unlearn.cli import options as given
from hf_unlearn.cli.audit_inputs import SHIPPED, Sources
from hf_unlearn.cli.images import Reading
from hf_unlearn.console import print_json, print_line, print_rich
from hf_unlearn.errors import InputError

LIMITS = "Limits (shares from 0 to 1)"
Limit = Annotated[float | None, typer.Option(min=0.0, max=1.0, rich_help_panel=LIMITS)]
Epsilon = Annotated[float | None, typer.Option(min=0.0, help="Any number; needs --membership.", rich_help_panel=LIMITS)]
Data = Annotated[
    Path | None,
    typer.Option(help="Folder with one sub-folder of test images per class; default: the demo's images."),
]
Validation = Annotated[
    Path | None, typer.Option(help="The attacker's images of the same classes; default: half of --data.")
]
Unlisted = Annotated[Path | None, typer.Option(help="Images of classes that the adapter does not list.")]
Train = Annotated[
    Path | None, typer.Option(help="Images for --membership, one per drawing; default: those of --validation.")
]
Words = Annotated[
    Path | None, typer.Option(help='JSON file, kind -> class -> words, such as {"synonyms": {"cat": ["kitty"]}}.')
]
Groups = Annotated[
    str | None, typer.Option(help=f"JSON file, class -> group; '{SHIPPED}' is the one that comes with the demo.")
]
Other = Annotated[list[str] | None, typer.Option(help="Another adapter of the same base; the attacker borrows it.")]
Membership = Annotated[bool, typer.Option(help="Also attack membership: trains many adapters, slow.")]
Models = Annotated[int, typer.Option(min=4, help="Membership: adapters with a drawing, and as many without.")]
RelearnQueries = Annotated[int, typer.Option(min=1, help="Queries that the relearning attacker may spend.")]
AuditSeed = Annotated[int, typer.Option("--seed", help="Fixes every draw.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for audit.json, audit.md and pictures.")]


def audit_command(
    adapter: given.AdapterOption,
    data: Data = None,
    validation: Validation = None,
    unlisted: Unlisted = None,
    train: Train = None,
    model: given.Base = None,
    revision: given.BaseRevision = None,
    subfolder: given.BaseSubfolder = None,
    names: given.Names = None,
    words: Words = None,
    groups: Groups = None,
    other: Other = None,
    membership: Membership = False,
    models: Models = 64,
    relearn_queries: RelearnQueries = 150,
    max_forget: Limit = None,
    max_attack: Limit = None,
    max_short_list: Limit = None,
    max_recoverability: Limit = None,
    max_retain_drop: Limit = None,
    max_class_drop: Limit = None,
    max_collateral: Limit = None,
    max_group_gap: Limit = None,
    max_epsilon: Epsilon = None,
    skip_broken: given.SkipBroken = False,
    leave_out: given.LeaveOut = None,
    seed: AuditSeed = 0,
    device: given.Device = None,
    dtype: given.Precision = given.Dtype.float32,
    out_folder: Out = None,
    as_json: given.Json = False,
) -> None:
    """Attack an adapter and report how far its forgetting reaches: exit code 0 pass, 1 fail, 2 could not run.

    It measures suppression on the text side, which is not erasure.

    Example: hf-unlearn audit --adapter adapters/no-beagles --data pets/test --max-attack 0.2
    """
    limits = {
        "max_forget": max_forget, "max_attack": max_attack, "max_short_list": max_short_list,
        "max_recoverability": max_recoverability, "max_retain_drop": max_retain_drop,
        "max_class_drop": max_class_drop, "max_collateral": max_collateral, "max_group_gap": max_group_gap,
        "max_epsilon": max_epsilon,
    }  # fmt: skip
    sources = Sources(
        Reading(names, skip_broken, leave_out or ()), data, validation, unlisted, train, words, groups, membership, seed
    )
    loading = {"base": model, "revision": revision, "subfolder": subfolder, "device": device, "dtype": dtype.value}
    try:
        passed = _run(
            adapter, loading, sources,
            {name: value for name, value in limits.items() if value is not None}, other or [], out_folder, as_json,
            models=models, relearn_queries=relearn_queries,
        )  # fmt: skip
    except KeyboardInterrupt:  # its usual exit code is no answer of an audit
        raise InputError("interrupted; the audit has no result") from None
    raise typer.Exit(0 if passed else 1)


def _run(
    where: str,
    loading: dict[str, Any],
    sources: Sources,
    limits: dict[str, float],
    others: list[str],
    out: Path | None,
    as_json: bool,
    **effort: Any,
) -> bool:
    """Audits, saves, prints; whether the adapter passed."""
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.auditing.auditor import audit
    from hf_unlearn.auditing.report import check_out
    from hf_unlearn.auditing.thresholds import Thresholds

    if out is not None:
        check_out(out)
    thresholds = Thresholds(**limits)
    adapter = ForgetAdapter.from_pretrained(where)
    if "max_group_gap" in limits and sources.groups is None:
        raise InputError("--max-group-gap needs --groups")
    if "max_epsilon" in limits and not sources.membership:
        raise InputError("--max-epsilon needs --membership")
    material = sources.material(adapter)
    borrowed = {one: ForgetAdapter.from_pretrained(one) for one in others}
    result = audit(
        adapter.load_base(**loading).model, adapter, material.images, thresholds=thresholds, **material.extra,
        others=borrowed, seed=sources.seed, progress=not as_json, **effort,
    )  # fmt: skip
    if out is not None:
        result.save(out)
    if as_json:
        print_json(result.to_json())
    else:
        print_rich(result)
        if out is not None:
            print_line(f"saved in {out}: audit.json, audit.md and pictures")
    return result.passed
