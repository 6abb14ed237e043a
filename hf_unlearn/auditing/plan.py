"""Which attacks and figures an audit runs, and which it can't: by the adapter's kind and what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hf_unlearn.adapters.adapter import ForgetAdapter
from hf_unlearn.auditing.attacks import contexts
from hf_unlearn.auditing.attacks import label_sets as labels
from hf_unlearn.auditing.attacks import other_images as images
from hf_unlearn.auditing.attacks import other_names as names
from hf_unlearn.auditing.attacks import templates as sentences
from hf_unlearn.auditing.attacks.linear_probe import feature_probe
from hf_unlearn.auditing.case import NOBODY, Attack, Case
from hf_unlearn.auditing.collateral import retain_harm, unlisted_harm
from hf_unlearn.auditing.groups import group_gaps
from hf_unlearn.auditing.membership import measure_membership
from hf_unlearn.auditing.steps import Step, Tell
from hf_unlearn.data.labeled_images import LabeledImages
from hf_unlearn.errors import InputError
from hf_unlearn.evaluation.evaluator import evaluate

OTHER_CONTEXT = "another adapter's context"
NO_CONTEXT = "an edit has no context"
NO_TOKENS = "this model answers to text and can't be given tokens"
NO_PICTURES = "needs an attacker's own images (--validation)"
TRAINED = 30  # queries for the second adapter
MEMBER_QUERIES = 45


@dataclass(frozen=True)
class Inputs:
    """What an audit is given beside model, adapter and images; see `audit`."""

    validation: LabeledImages | None
    unlisted: LabeledImages | None
    unlisted_validation: LabeledImages | None
    synonyms: Mapping[str, Sequence[str]]
    vocabulary: Mapping[str, Mapping[str, Sequence[str]]]
    pictures: Mapping[str, LabeledImages]
    others: Mapping[str, ForgetAdapter]
    drawings: Sequence[int] | None
    groups: Mapping[str, str] | None
    group_pictures: LabeledImages | None
    training: LabeledImages | None
    models: int
    relearn_queries: int
    seed: int

    def __post_init__(self) -> None:
        if self.relearn_queries < 1:
            raise InputError(f"relearn_queries must be at least 1, got {self.relearn_queries}")


def figures(case: Case, given: Inputs) -> dict[str, Step]:
    """What is measured without attacking, by its key in `Audit.content["metrics"]`."""
    steps = {
        "report": Step("figures", 60, lambda tell: evaluate(
            case.plain_box, case.images, case.adapter, validation=given.validation, unlisted=given.unlisted,
            unlisted_validation=given.unlisted_validation, synonyms=given.synonyms,
        ).content),
        "harm": Step("harm", 1, lambda tell: retain_harm(case, given.drawings)),
    }  # fmt: skip
    if (unlisted := given.unlisted) is not None:
        steps["unlisted"] = Step("harm", 6, lambda tell: unlisted_harm(case, unlisted))
    if groups := given.groups:
        steps["groups"] = Step("groups", 4, lambda tell: group_gaps(case, groups, given.group_pictures))
    if (training := given.training) is not None:
        queries = 2 * given.models * MEMBER_QUERIES
        steps["membership"] = Step(f"membership: {2 * given.models} adapters", queries, lambda tell: measure_membership(
            case, training, models=given.models, queries=MEMBER_QUERIES, seed=given.seed,
            tell=lambda n: tell(MEMBER_QUERIES * n),
        ))  # fmt: skip
    return steps


def attacks(case: Case, given: Inputs) -> tuple[list[Step], dict[str, str]]:
    """The attacks to run, each a step whose result is an `Attack`; and those that can't be, with the reason."""
    steps = [Step("as it is", 1, lambda tell: _as_it_is(case)), *_of_callers(case, given)]
    left_out: dict[str, str] = {}
    for found, missing in (_on_contexts(case, given), _with_tokens(case, given)):
        steps += found
        left_out.update(missing)
    if (own := given.validation) is None:
        left_out["probe on image features"] = NO_PICTURES
    else:
        steps.append(Step("probes", 10, lambda tell: feature_probe(case, own)))
    return steps, left_out


def _of_callers(case: Case, given: Inputs) -> list[Step]:
    """Attacks with names, sentences, labels and pictures: of every adapter and every black box."""
    words: dict[str, Mapping[str, Sequence[str]]] = {"synonyms": given.synonyms, **given.vocabulary}
    rules = {"plurals": _plurals, "misspellings": names.misspellings, "compositions": names.compositions}
    for kind, rule in rules.items():
        given_too = words.get(kind, {})
        words[kind] = {name: [*given_too.get(name, ()), *rule(name)] for name in case.forget_names}
    strangers = given.unlisted.names if given.unlisted is not None else ()
    steps = [
        Step(kind, 8, partial(_other_names, case, kind, own))
        for kind, own in words.items()
        if any(name in case.forget_names for name in own)
    ]
    steps += [
        Step("templates", 20, lambda tell: sentences.templates(case)),
        Step("templates", 20, lambda tell: sentences.usual_templates(case)),
        Step("labels", 0, lambda tell: labels.short_lists(case)),
        Step("labels", 4 * len(case.forget_names), lambda tell: labels.random_labels(case, strangers, seed=given.seed)),
        Step("labels", 2, lambda tell: labels.only_forgotten(case)),
        Step("pictures", 20, lambda tell: images.changed(case)),
    ]
    if given.pictures:
        steps.append(Step("other pictures", 8, lambda tell: images.other_pictures(case, given.pictures)))
    return steps


def _on_contexts(case: Case, given: Inputs) -> tuple[list[Step], dict[str, str]]:
    """Attacks on the adapter's own context."""
    context = case.adapter.context
    if context is None:
        return [], dict.fromkeys(("context left out", "context cut short", OTHER_CONTEXT), NO_CONTEXT)
    steps = [
        Step("contexts", 1, lambda tell: contexts.dropped(case)),
        Step("contexts", 6, lambda tell: contexts.truncated(case, context)),
    ]
    others = contexts.contexts_of(case, given.others)
    if (own := given.validation) is not None:

        def with_a_trained_one(tell: Tell) -> Attack:
            trained = contexts.other_adapter(case, own, len(context), TRAINED, given.seed)
            return contexts.exchanged(case, {"one that forgets kept classes": trained, **others})

        steps.append(Step("another adapter", TRAINED, with_a_trained_one))
    elif others:
        steps.append(Step("another adapter", 2, lambda tell: contexts.exchanged(case, others)))
    else:
        return steps, {OTHER_CONTEXT: NO_PICTURES}
    return steps, {}


def _with_tokens(case: Case, given: Inputs) -> tuple[list[Step], dict[str, str]]:
    """Attacks with tokens before the names, random or learned: of every adapter, where the model takes tokens."""
    if not case.takes_contexts:
        return [], dict.fromkeys(("tokens added", "relearning"), NO_TOKENS)
    steps = [Step("contexts", 3, lambda tell: contexts.appended(case, given.seed))]
    if (own := given.validation) is None:
        return steps, {"relearning": NO_PICTURES}
    queries = given.relearn_queries
    steps.append(Step("relearning", 2 * queries, lambda tell: contexts.relearned(
        case, own, queries=queries, seed=given.seed, tell=lambda n: tell(2 * n)
    )))  # fmt: skip
    return steps, {}


def _as_it_is(case: Case) -> Attack:
    tries = case.compare("nothing", case.plain, case.adapted)
    return Attack("no attack", NOBODY, "With nothing attacked, what is still named right?", tuple(tries))


def _other_names(case: Case, kind: str, words: Mapping[str, Sequence[str]], _: Tell) -> Attack:
    return names.other_names(case, kind, words)


def _plurals(name: str) -> list[str]:
    return [names.plural(name)]
