"""A model that knows four colours, adapters that hide some of them in different ways, and their audits."""

import numpy as np
import torch

from hf_unlearn import ForgetAdapter, audit
from hf_unlearn.adapters.config import AdapterConfig
from hf_unlearn.models.black_box import Ledger
from hf_unlearn.models.text_edit import digest
from tests.support.images import COLOURS, coloured

DIM, N_CTX = 6, 2

FORGET, RETAIN = ["red", "blue"], ["green", "grey"]

OTHER_WORDS = {
    "red": ["crimson", "reds", "a hot colour", "rot"], "blue": ["azure", "blues", "a cold colour", "blau"],
    "green": ["greens"], "grey": ["greys"],
}  # fmt: skip

CONCEPT = {word: i for i, name in enumerate(COLOURS) for word in (name, *OTHER_WORDS[name])}

CONTEXT = torch.linspace(-1, 1, N_CTX * DIM).view(N_CTX, DIM)


class Box:
    """A model that knows four colours by several names; `hide` says what happens behind the adapter's context.

    `hide(name, template, marked, undo, concept)` -> whether a right name of that concept scores nothing.
    """

    model_id, revision, template, dim, max_n_ctx, calls = "box", None, "This is a photo of {}.", DIM, 8, 1
    token_mean, token_std = torch.zeros(DIM), 1.0

    def __init__(self, hide) -> None:
        self.hide, self.ledger = hide, Ledger()

    def with_template(self, template):
        other = type(self)(self.hide)
        other.__dict__.update(self.__dict__, template=template)
        return other

    def fingerprint(self):
        return [[1.0, 0.0]]

    def add_images(self, images):
        found = []
        for image in images:
            pixels = np.asarray(image.convert("RGB"), float)
            distances = [np.abs(pixels.mean((0, 1)) - colour).sum() for colour in COLOURS.values()]
            found.append((int(np.argmin(distances)), pixels[:6, :6].mean() > pixels[:6, -6:].mean() + 20))
        self.ledger.image_encodings += len(found)
        return found

    def log_scores(self, contexts, images, names):
        self.ledger.queries += len(contexts)
        logits = -torch.tensor([float(name not in CONCEPT) for name in names]).repeat(len(contexts), len(images), 1)
        for p, context in enumerate(contexts):
            there = len(context) >= N_CTX and torch.equal(context[:N_CTX], CONTEXT)
            undo = float(context[N_CTX:].sum()) if there else 0.0
            for n, (concept, marked) in enumerate(images):
                for c, name in enumerate(names):
                    if CONCEPT.get(name) == concept:
                        hidden = float(self.hide(name, self.template, marked, undo, concept)) if there else 0.0
                        logits[p, n, c] = 5 - 10 * hidden
        return logits.log_softmax(-1)


def gone(concept) -> bool:
    return list(COLOURS)[concept] in FORGET


def thorough(name, template, marked, undo, concept):
    return gone(concept)


def mask(name, template, marked, undo, concept):
    return name in FORGET


def nothing(name, template, marked, undo, concept):
    return False


def adapter_for(box) -> ForgetAdapter:
    config = AdapterConfig(
        base_model="box", base_fingerprint=box.fingerprint(), n_ctx=N_CTX, dim=DIM, template=Box.template,
        forget=FORGET, retain=RETAIN, method="proximal", weights_sha256=digest(CONTEXT),
    )  # fmt: skip
    return ForgetAdapter(CONTEXT, config)


TEST, OWN = coloured(4, seed=1), coloured(3, seed=2)

WORDS = {
    "synonyms": {"red": ["crimson"], "blue": ["azure"]},
    "vocabulary": {"descriptions": {"red": ["a hot colour"], "blue": ["a cold colour"]},
                   "German": {"red": ["rot", "Röte"], "blue": ["blau"]}},
}  # fmt: skip


def audited(hide, images=TEST, **options):
    box = Box(hide)
    options = {"relearn_queries": 20, "progress": False, **options}
    return audit(box, adapter_for(box), images, **options)


def check(result, name):
    return next(item for item in result.content["checks"] if item["check"] == name)
