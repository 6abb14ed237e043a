"""The model card of an exported checkpoint."""

from __future__ import annotations

import json

from hf_unlearn.adapter_config import AdapterConfig
from hf_unlearn.black_box import TEMPLATE
from hf_unlearn.card import DUAL_USE, SCOPE, _code, _list, _text

PLAIN = (
    "The context sits in the tokenizer's post-processor and in the last rows of the token embedding; every other "
    "weight is the base's. Whoever resets the post-processor has the plain model back."
)
HARDENED = (
    "The context sits in the tokenizer's post-processor and in the last rows of the token embedding. The text "
    "projection was changed too: it maps the forgotten names, asked without the context, near the mean of the kept "
    "ones. That changes scores a little elsewhere; and other names of the same things, the image tower and the public "
    "base still give the categories away."
)


def render_export_card(config: AdapterConfig, family: str, hardened: bool) -> str:
    """`README.md` of an exported checkpoint: what it is, what it forgets, how to call it."""
    own_template = config.template != TEMPLATE
    call = f", hypothesis_template={config.template!r}" if own_template else ""
    front = ["library_name: transformers", "pipeline_tag: zero-shot-image-classification"]
    if config.base_revision:  # only a model on the Hub has one; a local path is no base model there
        front += [f"base_model: {json.dumps(config.base_model)}"]
    lines = [
        "---",
        *front,
        "tags: [hf_unlearn, unlearning, clip]",
        "---",
        "",
        f"# {_text(config.base_model)} behind a forget context",
        "",
        f"A plain transformers checkpoint (transformers 5, float32) that reads {config.n_ctx} learned tokens before "
        f"every text, and so forgets {len(config.forget)} of {len(config.forget) + len(config.retain)} classes. "
        "Made from an adapter by hf_unlearn, which is not needed to load it.",
        "",
        f"- **Forgets:** {_list(config.forget)}",
        f"- **Keeps:** {_list(config.retain)}",
        f"- **Prompt:** {_code(config.template)}"
        + (", which is not the pipeline's default: pass it as below" if own_template else ", the pipeline's default"),
        "",
        f"{SCOPE} {DUAL_USE}",
        "",
        HARDENED if hardened else PLAIN,
        "",
        "## Use",
        "",
        "```python",
        "from transformers import pipeline",
        "",
        'judge = pipeline("zero-shot-image-classification", model="path/to/this/folder")',
        f'judge(image, candidate_labels=["…", "…"]{call})',
        "```",
        "",
    ]
    lines += ["Pixels that are transparent count as black here; put such images on white first.", ""]
    if family.startswith("siglip"):
        lines += ["A score is the sigmoid of its label's logit, so the scores of an image do not sum to 1.", ""]
    return "\n".join(lines)
