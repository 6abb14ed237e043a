"""The commands that share adapters: `hf-unlearn push | pull | list | info`. None of them loads torch."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.cli.options import Adapter, Json
from hf_unlearn.console import print_json, print_line, print_rich
from hf_unlearn.text import plain

hub = typer.Typer()

LONGEST = 20_000  # characters of a list of names: a stranger's adapter can't flood the terminal
Repo = Annotated[str, typer.Argument(help="Repository on the Hub: user/name, or a name alone for your account.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub; default: main.")]


@hub.command()
def push(
    adapter: Adapter,
    repo: Repo,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Visibility of the repository; default: unchanged.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to; created if it does not exist.")] = None,
    message: Annotated[str | None, typer.Option(help="First line of the commit message.")] = None,
    create_pr: Annotated[bool, typer.Option("--pr", help="Open a pull request instead of committing.")] = False,
    license: Annotated[str | None, typer.Option(help="Licence of the adapter on its card, such as apache-2.0.")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Data set it was trained on; on its card.")] = None,
    as_json: Json = False,
) -> None:
    """Push an adapter to the Hub: all files in one commit, or none. Log in first: hf auth login.

    Example: hf-unlearn push adapters/no-beagles me/clip-forgets-beagles --license apache-2.0
    """
    from hf_unlearn.adapters.stored_adapter import StoredAdapter, find_folder

    stored = StoredAdapter.read(find_folder(adapter, picture=True))
    facts: dict[str, Any] = {"license": license, "datasets": dataset or None}
    config = replace(stored.config, **{key: value for key, value in facts.items() if value is not None})
    commit = replace(stored, config=config).push(
        repo, private=private, revision=revision, commit_message=message, create_pr=create_pr
    )
    where = commit.pr_url or commit.commit_url
    if as_json:
        print_json(json.dumps({"url": where, "commit": commit.oid}))
    else:
        print_line(f"pushed: {where}")


@hub.command()
def pull(
    repo: Repo,
    folder: Annotated[Path | None, typer.Argument(help="Folder to write it to; default: the Hub's cache.")] = None,
    revision: Revision = None,
    subfolder: Annotated[str | None, typer.Option(help="Where in the repository the adapter is.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch an adapter from the Hub and check it; afterwards it also loads offline."""
    from hf_unlearn.adapters.storage import check_out, kind_of
    from hf_unlearn.adapters.stored_adapter import StoredAdapter, find_folder
    from hf_unlearn.cli.outputs import name_replaced

    if folder is not None:
        check_out(folder)
    stored = StoredAdapter.read(find_folder(repo, revision=revision, subfolder=subfolder, picture=True))
    before = None
    if folder is not None:
        before = kind_of(folder)
        stored.save(folder)
    if as_json:
        print_json(json.dumps({"repo": repo, "folder": folder and str(folder), "forget": stored.config.forget}))
    else:
        _print_facts(stored.config, short=True)
        saved = f"saved in {folder}{name_replaced(before, stored.config.kind)}" if folder else "in the cache"
        print_line(saved)


@hub.command(name="list")
def list_(
    base: Annotated[str | None, typer.Argument(help="Hub id of a base model; default: any base.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the most downloaded first.")] = 30,
    as_json: Json = False,
) -> None:
    """List public adapters on the Hub.

    Example: hf-unlearn list openai/clip-vit-base-patch32
    """
    from hf_unlearn.hub.client import find

    found = find(base, limit=limit)
    if as_json:
        rows = [{"repo": info.id, "downloads": info.downloads, "likes": info.likes} for info in found]
        print_json(json.dumps({"base": base, "adapters": rows}))
    elif not found:
        print_line(f"no public adapter{f' for {base}' if base else ''} on the Hub")
    else:
        table = Table("adapter", "downloads", "likes")
        for info in found:
            table.add_row(Text(plain(info.id)), str(info.downloads or 0), str(info.likes or 0))
        print_rich(table)


@hub.command()
def info(adapter: Adapter, revision: Revision = None, as_json: Json = False) -> None:
    """Show what an adapter forgets and keeps, its base, its figures and its cost, before you use it."""
    from hf_unlearn.adapters.stored_adapter import StoredAdapter, find_folder

    config = StoredAdapter.read(find_folder(adapter, revision=revision, picture=True)).config
    if as_json:
        content = asdict(config)
        print_json(json.dumps({key: value for key, value in content.items() if key != "base_fingerprint"}))
    else:
        _print_facts(config)


def _print_facts(config: AdapterConfig, short: bool = False) -> None:
    is_edit = config.kind == "edit"
    facts = {
        f"forgets {len(config.forget)}": _join_names(config.forget),
        f"keeps {len(config.retain)}" if config.retain else "keeps": _join_names(config.retain) or "everything else",
        "base": config.base_model,
        "base revision": config.base_revision or "not from the Hub",
        **({"base subfolder": config.base_subfolder} if config.base_subfolder else {}),
        "kind": f"edit of the text features, rank {config.rank}" if is_edit else f"context of {config.n_ctx} tokens",
    }
    if is_edit:
        facts["changes most besides"] = _join_names([item["word"] for item in config.neighbours]) or "not measured"
    facts |= {
        "prompt": "any" if is_edit else f"[context of {config.n_ctx}] {config.template}",
        "method": config.method + (f", seed {config.seed}" if config.seed is not None else ""),
        "metrics": _join_figures(config.metrics),
        "ledger": _join_figures(config.ledger),
        "licence": config.license or "not stated",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in list(facts.items())[: 4 if short else None]:
        table.add_row(name, Text(plain(value)))
    print_rich(table)


def _join_names(names: list[str]) -> str:
    line = ", ".join(names)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} … ({len(names):,} names; --json has all)"


def _join_figures(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_round(value)}" for key, value in values.items() if value is not None) or "none"


def _round(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
