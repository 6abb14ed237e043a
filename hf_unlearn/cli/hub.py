"""The commands that share adapters: `hf-unlearn push | pull | list | info`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hf_unlearn.console import say, say_json, show
from hf_unlearn.text import plain

hub = typer.Typer()

Adapter = Annotated[str, typer.Argument(help="The adapter: a folder, or a repository on the Hub.")]
Repo = Annotated[str, typer.Argument(help="Repository on the Hub: user/name, or name for one of your own.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub; main if not given.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@hub.command()
def push(
    adapter: Adapter,
    repo: Repo,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="What the repository is to be; as it is if not given.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to commit to; made if there is none.")] = None,
    message: Annotated[str | None, typer.Option(help="First line of the commit.")] = None,
    create_pr: Annotated[bool, typer.Option("--pr", help="Open a pull request instead of committing.")] = False,
    license: Annotated[str | None, typer.Option(help="Licence of the adapter, said in its card: apache-2.0, …")] = None,
    dataset: Annotated[list[str] | None, typer.Option(help="Data set it was trained on, said in its card.")] = None,
    as_json: Json = False,
) -> None:
    """Put an adapter on the Hub: all files in one commit, or none. Log in first: hf auth login.

    Example: hf-unlearn push adapters/no-beagles me/clip-forgets-beagles --license apache-2.0
    """
    from hf_unlearn.adapters.adapter import ForgetAdapter

    loaded = ForgetAdapter.from_pretrained(adapter)
    said: dict[str, Any] = {"license": license, "datasets": dataset or None}
    config = replace(loaded.config, **{key: value for key, value in said.items() if value is not None})
    commit = replace(loaded, config=config).push_to_hub(
        repo, private=private, revision=revision, commit_message=message, create_pr=create_pr
    )
    where = commit.pr_url or commit.commit_url
    if as_json:
        say_json(json.dumps({"url": where, "commit": commit.oid}))
    else:
        say(f"pushed: {where}")


@hub.command()
def pull(
    repo: Repo,
    folder: Annotated[Path | None, typer.Argument(help="Where to write it; else only the cache has it.")] = None,
    revision: Revision = None,
    subfolder: Annotated[str | None, typer.Option(help="Where in the repository the adapter is.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch an adapter from the Hub and check it; from then on it loads offline, too."""
    from hf_unlearn.adapters.adapter import ForgetAdapter
    from hf_unlearn.adapters.storage import check_out, kind_of
    from hf_unlearn.cli.outputs import in_place_of

    if folder is not None:
        check_out(folder)
    adapter = ForgetAdapter.from_pretrained(repo, revision=revision, subfolder=subfolder)
    before = None
    if folder is not None:
        before = kind_of(folder)
        adapter.save_pretrained(folder)
    if as_json:
        say_json(json.dumps({"repo": repo, "folder": folder and str(folder), "forget": adapter.config.forget}))
    else:
        _tell(asdict(adapter.config), short=True)
        say(f"saved in {folder}{in_place_of(before, adapter.kind)}" if folder else "in the cache")


@hub.command(name="list")
def list_(
    base: Annotated[str | None, typer.Argument(help="Hub id of a base model; adapters of any if not given.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most, the most downloaded first.")] = 30,
    as_json: Json = False,
) -> None:
    """Find public adapters on the Hub."""
    from hf_unlearn.hub.client import find

    found = find(base, limit=limit)
    if as_json:
        rows = [{"repo": info.id, "downloads": info.downloads, "likes": info.likes} for info in found]
        say_json(json.dumps({"base": base, "adapters": rows}))
    elif not found:
        say(f"no public adapter{f' for {base}' if base else ''} on the Hub")
    else:
        table = Table("adapter", "downloads", "likes")
        for info in found:
            table.add_row(Text(plain(info.id)), str(info.downloads or 0), str(info.likes or 0))
        show(table)


@hub.command()
def info(adapter: Adapter, revision: Revision = None, as_json: Json = False) -> None:
    """Show what an adapter forgets and keeps, its base, its figures and what it took, before you use it."""
    from hf_unlearn.adapters.adapter import ForgetAdapter

    config = asdict(ForgetAdapter.from_pretrained(adapter, revision=revision).config)
    if as_json:
        say_json(json.dumps({key: value for key, value in config.items() if key != "base_fingerprint"}))
    else:
        _tell(config)


def _tell(config: dict[str, Any], short: bool = False) -> None:
    edit = config["kind"] == "edit"
    facts = {
        f"forgets {len(config['forget'])}": _names(config["forget"]),
        f"keeps {len(config['retain'])}" if config["retain"] else "keeps": _names(config["retain"])
        or "everything else",
        "base": config["base_model"],
        "base revision": config["base_revision"] or "not from the Hub",
        "kind": f"edit of the text features, rank {config['rank']}" if edit else f"context of {config['n_ctx']} tokens",
        **(
            {"changes most besides": _names([item["word"] for item in config["neighbours"]]) or "not said"}
            if edit
            else {}
        ),
        "prompt": "any" if edit else f"[context of {config['n_ctx']}] {config['template']}",
        "method": config["method"] + (f", seed {config['seed']}" if config["seed"] is not None else ""),
        "metrics": _figures(config["metrics"]),
        "ledger": _figures(config["ledger"]),
        "licence": config["license"] or "not said",
    }
    table = Table.grid(padding=(0, 2))
    for name, value in list(facts.items())[: 4 if short else None]:
        table.add_row(name, Text(plain(value)))
    show(table)


def _names(names: list[str]) -> str:
    """All of them, unless a stranger means to flood the terminal."""
    line = ", ".join(names)
    return line if len(line) <= 20_000 else f"{line[:20_000]} … ({len(names):,} names; --json has all)"


def _figures(values: dict[str, float | None]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in values.items() if value is not None) or "none"


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
