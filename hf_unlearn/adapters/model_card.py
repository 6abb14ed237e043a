"""The model card of an adapter, made from its facts. Every string in it may come from a stranger."""

from __future__ import annotations

import json
from typing import Any

from hf_unlearn.text import code_span, markdown, plain

SCOPE = (
    "This is suppression behind a prompt, not erasure: the base model's weights are untouched, and anyone "
    "with the base model has everything back by leaving the context out."
)
EDIT_SCOPE = (
    "This is suppression on the text side, not erasure: the image tower and the image features are untouched, so "
    "image-to-image search still finds what is forgotten, and anyone with the public base model has everything back."
)
DUAL_USE = (
    "Dual use: an adapter can blind a weapon detector as easily as it can calm a shop's search. "
    "Look at the list of what it forgets before you load one."
)
FIGURES = (
    "H",
    "err_for",
    "acc_mem",
    "short_list_1",
    "short_list_4",
    "short_list_9",
    "entropy",
    "top5_leak",
    "recoverability",
    "forget_detect",
    "synonym_err",
)
HEADINGS = (
    "| | queries | H | Err_for | Acc_mem | named beside 1 | beside 4 | beside 9 | entropy | top-k leak | "
    "recoverability | detect | synonym err |"
)
NOT_EVALUATED = "It was not evaluated: measure it before you rely on it."
TAGS = ("hf_unlearn", "unlearning", "clip")
OWN = ("base_model", "base_model_relation", "library_name", "pipeline_tag", "model-index", "model_name", "eval_results")
NEIGHBOURS = 40  # named on a card
LEAKS = {  # metric -> what it says in words; {} is its value times 100
    "short_list_4": "Beside four random kept names {} % of the forgotten images still get their own name.",
    "recoverability": "A probe that reads the scores can name the forgotten class: {} on a scale from 0 (it guesses) "
    "to 100 (it always can).",
    "top5_leak": "How often the forgotten name is still among the top few differs by {} points from chance: the "
    "farther from 0, the more a ranking gives away.",
    "forget_detect": "A probe tells forgotten images from images of classes in neither list with an area under the "
    "curve of {}: 50 is not at all.",
    "synonym_err": "Asked by another name of the same thing, it fails on {} % of the images: the rest come back.",
    "look_alike": "Up to {} % of one forgotten class land on one and the same other name.",
    "bypass_acc": "With the context left out, {} % of the forgotten images are told right again.",
    "collateral": "On classes in neither list its accuracy changes by {} points.",
}
EDIT_LEAKS = LEAKS | {
    "bypass_acc": "Under a plain prompt, with the edit in effect, {} % of the forgotten images are told right; without "
    "the edit, in the public base model, everything is back."
}
COMPARED = ("short_list_4", "recoverability", "top5_leak", "forget_detect", "synonym_err", "look_alike")


def render_card(
    config: dict[str, Any],
    report: dict[str, Any] | None,
    repo_id: str | None = None,
    drawn: bool = True,
    kept: dict[str, Any] | None = None,
) -> str:
    """`README.md` of an adapter: what it forgets, figures beside zero-shot and label mask, leaks, how to use it.

    Args:
        config: the adapter's config as a dictionary.
        report: its evaluation, if it was evaluated.
        repo_id: where it is pushed to, for the code; a folder if not given.
        drawn: whether the report's picture is there.
        kept: metadata for the Hub besides an adapter's own, see `metadata_of`.
    """
    lines = [
        "---",
        _front_matter(config, report, repo_id, kept or {}),
        "---",
        "",
        f"# Forget-adapter for {markdown(config['base_model'])}",
        "",
        _what_it_is(config),
        "",
        f"- **Forgets:** {_list(config['forget'])}",
        *([f"- **Also by the names:** {_list(others)}"] if (others := _others(config)) else []),
        f"- **Keeps:** {_list(config['retain']) or 'everything else'}",
        *([f"- **Changes most besides:** {_neighbours(config)}"] if config["neighbours"] else []),
        f"- **Base:** {markdown(config['base_model'])}, revision "
        f"{markdown(config['base_revision'] or 'not from the Hub')}",
        f"- **Prompt:** {'any' if config['kind'] == 'edit' else code_span('[context] ' + config['template'])}",
        "",
        f"{scope(config['kind'])} {DUAL_USE}",
        "",
        *_use(config["kind"], repo_id),
        *(_figures(config, report, drawn) if report else [NOT_EVALUATED, ""]),
        *_training(config),
    ]
    return "\n".join(lines)


def metadata_of(card: str) -> dict[str, Any]:
    """What the front matter of a card says that an adapter does not: licence, data sets, further tags, whatever else.

    Nothing if it can't be read.
    """
    from huggingface_hub import ModelCard

    if not card.startswith("---"):
        return {}
    try:
        found = ModelCard(card, ignore_metadata_errors=True).data.to_dict()
    except Exception:  # a stranger's front matter
        return {}
    tags = [tag for tag in found.pop("tags", None) or () if isinstance(tag, str) and tag not in TAGS]
    return {key: value for key, value in found.items() if key not in OWN} | ({"tags": tags} if tags else {})


def scope(kind: str) -> str:
    """What an adapter of this kind is not."""
    return EDIT_SCOPE if kind == "edit" else SCOPE


def leaks_of(kind: str) -> dict[str, str]:
    """Metric -> what it says in words about an adapter of this kind; {} is its value times 100."""
    return EDIT_LEAKS if kind == "edit" else LEAKS


def _what_it_is(config: dict[str, Any]) -> str:
    """One sentence: the kind, its size, how much it forgets."""
    gone, kept = len(config["forget"]), len(config["retain"])
    if config["kind"] == "context":
        return (
            f"A context of {config['n_ctx']} token embeddings that makes a CLIP forget {gone} of {gone + kept} classes."
        )
    names = f"{gone} name{'s' * (gone > 1)}"
    return f"An edit of a CLIP's text features, of rank {config['rank']}, that makes it forget {names}."


def _neighbours(config: dict[str, Any]) -> str:
    words = sorted(config["neighbours"], key=lambda item: item["similarity"])
    shown = [f"{markdown(item['word'])} ({item['similarity']:.2f}, near {markdown(item['of'])})" for item in words]
    more = f" and {len(shown) - NEIGHBOURS} more" if len(shown) > NEIGHBOURS else ""
    return f"{', '.join(shown[:NEIGHBOURS])}{more}; the number is a cosine of before and after, 1 is unchanged"


def _others(config: dict[str, Any]) -> list[str]:
    return [word for own in config["synonyms"].values() for word in own]


def _front_matter(
    config: dict[str, Any], report: dict[str, Any] | None, repo_id: str | None, kept: dict[str, Any]
) -> str:
    """YAML of `ModelCardData`; every metric of the adapter's own row becomes an entry of `model-index`."""
    from huggingface_hub import EvalResult, ModelCardData

    said: dict[str, Any] = {key: config[key] or kept.get(key) or None for key in ("license", "datasets")}
    more = {key: value for key, value in kept.items() if key not in (*said, "tags")}
    name = repo_id.split("/")[-1] if repo_id else "forget-adapter"
    results = None
    if report and (row := _own(config, report)):
        judged = report["images"]
        results = [
            EvalResult(
                task_type="zero-shot-image-classification",
                task_name="Zero-shot image classification with forgotten classes",
                dataset_type="imagefolder",
                dataset_name=f"{plain(judged['kind'])} images, {judged['forget']} forget and {judged['retain']} retain",
                metric_type=key,
                metric_value=round(value, 6),
            )
            for key, value in row.items()
            if isinstance(value, int | float) and key not in ("queries", "synonyms")
        ]
    from_hub = config["base_revision"] is not None  # only a model on the Hub has one; a path breaks a push
    data = ModelCardData(
        base_model=config["base_model"] if from_hub else None,
        base_model_relation="adapter" if from_hub else None,
        library_name="hf_unlearn",
        pipeline_tag="zero-shot-image-classification",
        tags=[*TAGS, *kept.get("tags", ())],
        model_name=name if results else None,
        eval_results=results,
        **said,
        **more,
    )
    return data.to_yaml()


def _use(kind: str, repo_id: str | None) -> list[str]:
    vectors = [
        'texts = model.text_features(["…", "…"])  # search image vectors with these; the images stay indexed',
        "# text vectors from elsewhere, in NumPy: adapter.edit_vectors(vectors)",
    ]
    return [
        "## Use",
        "",
        "```python",
        "from hf_unlearn import ForgetAdapter",
        "",
        f"adapter = ForgetAdapter.from_pretrained({json.dumps(repo_id or 'path/to/this/folder')})",
        f"model = adapter.load_base()  # the base at the revision above, the {kind} in effect",
        'probs = model.classify(images, labels=["…", "…"])',
        *(vectors if kind == "edit" else []),
        "```",
        "",
    ]


def _figures(config: dict[str, Any], report: dict[str, Any], drawn: bool) -> list[str]:
    judged = report["images"]
    lines = [
        f"## Figures ({markdown(judged['kind'])} images: {judged['forget']} forget, {judged['retain']} retain)",
        "",
        HEADINGS,
        "|---" * (len(FIGURES) + 2) + "|",
        *(_row(row) for row in report["rows"]),
        "",
        "zero-shot is the base as it is; label-mask only strikes the forgotten names from the label set. Named beside "
        "k: forgotten images that still get their own name in a list with k random kept names.",
        "",
        *(["![before and after](report.png)", ""] if drawn else []),
    ]
    if row := _own(config, report):
        mask: dict[str, Any] = next((other for other in report["rows"] if other["name"] == "label-mask"), {})
        lines += ["## How it resists, where it leaks", "", *_leaks(config["kind"], row, mask), ""]
    return lines


def _leaks(kind: str, row: dict[str, Any], mask: dict[str, Any]) -> list[str]:
    lines = []
    for key, words in leaks_of(kind).items():
        if row.get(key) is not None:
            beside = f" A label mask: {100 * mask[key]:.1f}." if key in COMPARED and mask.get(key) is not None else ""
            lines.append(f"- {words.format(f'{100 * row[key]:.1f}')}{beside}")
    missing = [key for key in ("recoverability", "forget_detect", "synonym_err") if row.get(key) is None]
    if missing:
        lines.append(f"- Not measured: {_list(missing)}. What was not measured may leak.")
    return lines


def _training(config: dict[str, Any]) -> list[str]:
    given = {**config["hyperparameters"], **({} if config["seed"] is None else {"seed": config["seed"]})}
    how = "forward calls only"
    if config["kind"] == "edit":
        how = f"in closed form, {config['ledger'].get('queries', 0):,} queries"
    took = ", ".join(f"{markdown(key)} {value:,}" for key, value in config["ledger"].items())
    lines = [
        f"## How it was {'made' if config['kind'] == 'edit' else 'trained'}",
        "",
        f"Method {markdown(config['method'])}, {how}, hf_unlearn {markdown(config['library_version'])}.",
        "",
        *(
            f"- {markdown(key)}: {markdown(json.dumps(value, ensure_ascii=False)[:300])}"
            for key, value in given.items()
        ),
        "",
        *([f"What it took: {took}.", ""] if took else []),
    ]
    if digest := config["few_shot_digest"]:
        lines += [
            f"Few-shot images (training and validation): SHA-256 {code_span(digest['sha256'])} under the salt "
            f"{code_span(digest['salt'])}. Whoever has the set can recognize it.",
            "",
        ]
    return lines


def _own(config: dict[str, Any], report: dict[str, Any]) -> dict[str, Any] | None:
    own = (row for row in report["rows"] if row.get("weights_sha256") == config["weights_sha256"])
    return next(own, None)


def _row(row: dict[str, Any]) -> str:
    cells = [f"{100 * row[key]:.1f}" if row.get(key) is not None else "–" for key in FIGURES]
    return f"| {markdown(row['name'])} | {row['queries']:,} | {' | '.join(cells)} |"


def _list(names: list[str]) -> str:
    return ", ".join(markdown(name) for name in names)
