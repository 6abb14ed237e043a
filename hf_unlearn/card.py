"""The model card of an adapter, made from its facts."""

from __future__ import annotations

from typing import Any

SCOPE = (
    "This is suppression behind a prompt, not erasure: the base model's weights are untouched, and anyone "
    "with the base model has everything back by leaving the context out."
)
DUAL_USE = (
    "Dual use: an adapter can blind a weapon detector as easily as it can calm a shop's search. "
    "Look at the list of what it forgets before you load one."
)


def render_card(config: dict[str, Any], report: dict[str, Any] | None) -> str:
    """`README.md` of an adapter: what it forgets, figures beside zero-shot and label mask, how to use it."""
    queries = config["ledger"].get("queries", 0)
    lines = [
        "---",
        "library_name: hf_unlearn",
        "pipeline_tag: zero-shot-image-classification",
        "tags: [hf_unlearn, unlearning, clip]",
        "---",
        "",
        f"# Forget-adapter for {_text(config['base_model'])}",
        "",
        f"A context of {config['n_ctx']} token embeddings that makes a CLIP forget "
        f"{len(config['forget'])} of {len(config['forget']) + len(config['retain'])} classes.",
        "",
        f"- **Forgets:** {_list(config['forget'])}",
        f"- **Keeps:** {_list(config['retain'])}",
        f"- **Prompt:** `[context] {_text(config['template'])}`",
        f"- **Method:** {_text(config['method'])}, seed {config['seed']}, {queries:,} queries",
        "",
        f"{SCOPE} {DUAL_USE}",
        "",
    ]
    if report:
        judged = report["images"]
        lines += [
            f"## Figures ({judged['kind']} images: {judged['forget']} forget, {judged['retain']} retain)",
            "",
            "| | queries | H | Err_for | Acc_mem | entropy | recoverability |",
            "|---|---|---|---|---|---|---|",
            *(_row(row) for row in report["rows"]),
            "",
            "![before and after](report.png)",
            "",
        ]
    lines += [
        "## Use",
        "",
        "```python",
        "from hf_unlearn import ForgetAdapter",
        "",
        'model = ForgetAdapter.from_pretrained("path/to/this/folder").load_base()',
        'probs = model.classify(images, labels=["…", "…"])',
        "```",
        "",
    ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    cells = [f"{100 * row[key]:.1f}" if row.get(key) is not None else "–" for key in FIGURES]
    return f"| {_text(row['name'])} | {row['queries']:,} | {' | '.join(cells)} |"


FIGURES = ("H", "err_for", "acc_mem", "entropy", "recoverability")


def _list(names: list[str]) -> str:
    return ", ".join(_text(name) for name in names)


def _text(value: str) -> str:
    """Strings may come from strangers: nothing in them is markup here."""
    plain = " ".join(str(value).split())
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#!" else char for char in plain)
