"""The model card of an exported checkpoint."""

from __future__ import annotations

import json

from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.adapters.model_card import DUAL_USE, scope
from hf_unlearn.models.black_box import TEMPLATE
from hf_unlearn.text import code_span, join_names, markdown

KEEP = (
    "**Load the tokenizer with `AutoTokenizer`, a processor or a pipeline.** `CLIPTokenizer` and `BertTokenizer` "
    "refuse; `XLMRobertaTokenizer` and other classes that rebuild a tokenizer drop the context without notice."
)
PLAIN = (
    "The context sits in the tokenizer's post-processor and in the last rows of the token embedding; every other "
    "weight is the base's. Whoever resets the post-processor has the plain model back."
)
EDITED = (
    "The edit is multiplied into the text projection; every other weight, the tokenizer and the image tower are the "
    "base's. It works under every prompt, so no prompt has to be kept or can be left out. A text projection carries "
    "the edit without the gate that the adapter has: other words change more than under the adapter. Evaluate it."
)
HARDENED = (
    "The context sits in the tokenizer's post-processor and in the last rows of the token embedding. The text "
    "projection was changed too: it maps the forgotten names, asked without the context, near the mean of the kept "
    "ones. That changes scores a little elsewhere; and other names of the same things, the image tower and the public "
    "base still give the categories away."
)


def render_export_card(config: AdapterConfig, family: str, hardened: bool, dtype: str) -> str:
    """`README.md` of an exported checkpoint: what it is, what it forgets, how to call it."""
    edited = config.kind == "edit"
    own_template = config.template != TEMPLATE and not edited
    call = f", hypothesis_template={config.template!r}" if own_template else ""
    front = ["library_name: transformers", "pipeline_tag: zero-shot-image-classification"]
    if config.base_revision:  # only a model on the Hub has one; a local path is no base model there
        front += [f"base_model: {json.dumps(config.base_model)}"]
    gone, kept = len(config.forget), len(config.retain)
    what = (
        f"whose text projection was edited, so that it forgets {gone} name{'s' * (gone > 1)}"
        if edited
        else f"that reads {config.n_ctx} learned tokens before every text, and so forgets {gone} of {gone + kept} "
        "classes"
    )
    known = "which is not the pipeline's default: pass it as below" if own_template else "the pipeline's default"
    lines = [
        "---",
        *front,
        "tags: [hf_unlearn, unlearning, clip]",
        "---",
        "",
        f"# {markdown(config.base_model)} {'with edited text features' if edited else 'behind a forget context'}",
        "",
        *([] if edited else [KEEP, ""]),
        f"A plain transformers checkpoint (transformers 5, {dtype}) {what}. "
        "Made from an adapter by hf_unlearn, which is not needed to load it.",
        "",
        f"- **Forgets:** {join_names(config.forget)}",
        f"- **Keeps:** {join_names(config.retain) or 'everything else'}",
        f"- **Prompt:** {'any' if edited else f'{code_span(config.template)}, {known}'}",
        "",
        f"{scope(config.kind)} {DUAL_USE}",
        "",
        EDITED if edited else HARDENED if hardened else PLAIN,
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
