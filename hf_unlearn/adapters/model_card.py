"""The model card of an adapter, made from its facts. Every string in it may come from a stranger."""

from __future__ import annotations

import json
from typing import Any

from hf_unlearn.adapters.card_figures import find_row, render_figures
from hf_unlearn.edits.by_score import SCORE_EDIT
from hf_unlearn.text import code_span, join_names, markdown, plain

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
NOT_EVALUATED = "It was not evaluated: measure it before you rely on it."
TAGS = ("hf_unlearn", "unlearning", "clip")
OF_ADAPTER = (
    "base_model",
    "base_model_relation",
    "library_name",
    "pipeline_tag",
    "model-index",
    "model_name",
    "eval_results",
)
NEIGHBOURS = 40  # named on a card


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
        kept: further metadata for the Hub, see `metadata_of`.
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
        f"- **Forgets:** {join_names(config['forget'])}",
        *([f"- **Also by the names:** {join_names(others)}"] if (others := _other_names(config)) else []),
        f"- **Keeps:** {join_names(config['retain']) or 'everything else'}",
        *([f"- **Changes most besides:** {_neighbours(config)}"] if config["neighbours"] else []),
        f"- **Base:** {markdown(config['base_model'])}{_subfolder(config)}, revision "
        f"{markdown(config['base_revision'] or 'not from the Hub')}",
        f"- **Prompt:** {'any' if config['kind'] == 'edit' else code_span('[context] ' + config['template'])}",
        "",
        f"{scope(config['kind'])} {DUAL_USE}",
        "",
        *_use(config, repo_id),
        *(render_figures(config, report, drawn) if report else [NOT_EVALUATED, ""]),
        *_training(config),
    ]
    return "\n".join(lines)


def metadata_of(card: str) -> dict[str, Any]:
    """The metadata of a card that an adapter does not hold: licence, data sets, further tags, anything else.

    Empty if the front matter can't be read.
    """
    from huggingface_hub import ModelCard

    if not card.startswith("---"):
        return {}
    try:
        data = ModelCard(card, ignore_metadata_errors=True).data
        found: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    except Exception:  # a stranger's front matter
        return {}
    tags = [tag for tag in found.pop("tags", None) or () if isinstance(tag, str) and tag not in TAGS]
    return {key: value for key, value in found.items() if key not in OF_ADAPTER} | ({"tags": tags} if tags else {})


def scope(kind: str) -> str:
    """What an adapter of this kind does not do."""
    return EDIT_SCOPE if kind == "edit" else SCOPE


def _what_it_is(config: dict[str, Any]) -> str:
    """One sentence: the kind, its size, how much it forgets."""
    gone, kept = len(config["forget"]), len(config["retain"])
    if config["kind"] == "context":
        return (
            f"A context of {config['n_ctx']} token embeddings that makes a CLIP forget {gone} of {gone + kept} classes."
        )
    names = f"{gone} name{'s' * (gone > 1)}"
    edited = "scores" if config["method"] == SCORE_EDIT else "text features"
    return f"An edit of a CLIP's {edited}, of rank {config['rank']}, that makes it forget {names}."


def _neighbours(config: dict[str, Any]) -> str:
    words = sorted(config["neighbours"], key=lambda item: item["similarity"])
    shown = [f"{markdown(item['word'])} ({item['similarity']:.2f}, near {markdown(item['of'])})" for item in words]
    more = f" and {len(shown) - NEIGHBOURS} more" if len(shown) > NEIGHBOURS else ""
    return f"{', '.join(shown[:NEIGHBOURS])}{more}; the number is a cosine of before and after, 1 is unchanged"


def _subfolder(config: dict[str, Any]) -> str:
    return f", subfolder {markdown(place)}" if (place := config["base_subfolder"]) else ""


def _other_names(config: dict[str, Any]) -> list[str]:
    return [word for words in config["synonyms"].values() for word in words]


def _front_matter(
    config: dict[str, Any], report: dict[str, Any] | None, repo_id: str | None, kept: dict[str, Any]
) -> str:
    """YAML of `ModelCardData`; every metric of the adapter's own row becomes an entry of `model-index`."""
    from huggingface_hub import EvalResult, ModelCardData

    said: dict[str, Any] = {key: config[key] or kept.get(key) or None for key in ("license", "datasets")}
    more = {key: value for key, value in kept.items() if key not in (*said, "tags")}
    name = repo_id.split("/")[-1] if repo_id else "forget-adapter"
    results = None
    if report and (row := find_row(config, report)):
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


def _use(config: dict[str, Any], repo_id: str | None) -> list[str]:
    load = f"adapter = ForgetAdapter.from_pretrained({json.dumps(repo_id or 'path/to/this/folder')})"
    if config["method"] == SCORE_EDIT:
        return [
            "## Use",
            "",
            "It needs a box that gives scores of the base above; and the images and words that it was made with, if "
            "any were given.",
            "",
            "```python",
            "import torch",
            "from hf_unlearn import ForgetAdapter, ReferenceBlackBox",
            "",
            load,
            "model = ReferenceBlackBox(box)",
            'scores = model.under(adapter).log_scores(torch.zeros(1, 0, 0), model.add_images(images), ["…", "…"])',
            "```",
            "",
        ]
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
        load,
        f"model = adapter.load_base()  # the base at the revision above, the {config['kind']} in effect",
        'probs = model.classify(images, labels=["…", "…"])',
        *(vectors if config["kind"] == "edit" else []),
        "```",
        "",
    ]


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
