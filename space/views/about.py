"""The About page: how it works in one picture, limits, scope, dual use and data."""

from __future__ import annotations

from html import escape

from hf_unlearn.adapters.model_card import DUAL_USE, EDIT_SCOPE, SCOPE

PICTURE = """
<svg class="how" viewBox="0 0 760 200" role="img" aria-labelledby="how-title">
<title id="how-title">A picture goes through the image tower. Each label goes through the text tower, and an edit
changes what comes out. The two are compared. A picture of a beer mug no longer matches “beer mug”; a picture of a
guitar matches “guitar” as before.</title>
<g class="box"><rect x="10" y="14" width="120" height="54" rx="8"/><rect x="170" y="14" width="130" height="54" rx="8"/>
<rect x="10" y="122" width="120" height="54" rx="8"/><rect x="170" y="122" width="130" height="54" rx="8"/>
<rect x="450" y="68" width="100" height="54" rx="8"/></g>
<rect class="context" x="340" y="122" width="70" height="54" rx="8"/>
<g class="line"><path d="M130 41H166M130 149H166M300 149H336
M300 41C410 41 410 85 446 88M410 149C432 149 420 106 446 102M550 95H576"/>
</g><g class="words"><text x="70" y="46">picture</text><text x="235" y="46">image tower</text>
<text x="70" y="154">labels</text><text x="235" y="154">text tower</text>
<text class="on-colour" x="375" y="154">edit</text><text x="500" y="100">compare</text></g>
<g class="words left"><text x="584" y="70">a beer mug: “beer mug”</text>
<text x="584" y="90">no longer matches</text>
<text x="584" y="120">a guitar: “guitar”</text><text x="584" y="140">matches as before</text>
<text x="345" y="196">a few KB</text><text x="10" y="196">image tower and text tower stay unchanged</text></g></svg>
"""
PARTS = {
    "How it works": "A CLIP scores a picture against each label. An edit is a small map behind the text tower. It "
    "turns the names to forget away and leaves other words in place. It is computed from the names, in a second. Where "
    "a model answers with scores only, a context takes its place: a few learned token embeddings before each label. "
    "It is searched for with forward calls, which takes minutes. Either way, pictures of what is forgotten no longer "
    "find their label, and other pictures keep theirs.",
    "What it is not": f"A context: {SCOPE} An edit of the text features: {EDIT_SCOPE}",
    "Dual use": DUAL_USE.replace("Dual use: a", "A", 1),
    "Limits": "A label mask strikes the names from the list of labels, and does as well where that list is all there "
    "is. Other names of the same thing are forgotten only in part. Under a context, names in neither list often lose "
    "accuracy. Scores are shares among the labels given. The embedded model is small, was trained on emoji drawings, "
    "and knows little of photographs.",
    "Your data": "This page looks at your images and keeps none. Adapters that you make or bring stay in this app's "
    "memory for an hour after their last use, under a key that only you have. Your browser keeps the last key. A token "
    "that you log in with is used for your push and stored nowhere.",
}


def render_about() -> str:
    """All of it as HTML."""
    return PICTURE + "".join(f"<h2>{title}</h2><p>{escape(text)}</p>" for title, text in PARTS.items())
