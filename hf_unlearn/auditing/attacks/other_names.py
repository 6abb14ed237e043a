"""Attack by other names: synonyms, families, descriptions, languages, plurals, misspellings, phrases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from hf_unlearn.auditing.attack_results import CALLER, Attack, Try
from hf_unlearn.auditing.case import Case
from hf_unlearn.auditing.inputs import Inputs
from hf_unlearn.auditing.progress import Advance, Step
from hf_unlearn.auditing.word_forms import list_misspellings, list_phrases, make_plural
from hf_unlearn.errors import PromptTooLongError

QUESTIONS = {
    "synonyms": "Does another name of the same thing bring it back?",
    "hypernyms": "Does the word for the whole family of things (weapon, alcohol) bring them back?",
    "plurals": "Does the plural, or the singular of a plural, bring it back?",
    "misspellings": "Does a misspelled name bring it back?",
    "descriptions": "Does a description without the name bring it back?",
    "compositions": "Does the name inside a phrase (a man holding a …, two …) bring it back?",
}
RULES: dict[str, Callable[[str], list[str]]] = {
    "plurals": lambda name: [make_plural(name)],
    "misspellings": list_misspellings,
    "compositions": list_phrases,
}


def plan_other_names(case: Case, given: Inputs) -> Iterator[Step[Attack]]:
    """One step per kind of name: the kinds given, and those that a rule makes."""
    kinds: dict[str, Mapping[str, Sequence[str]]] = {"synonyms": given.synonyms, **given.vocabulary}
    for kind, rule in RULES.items():
        listed = kinds.get(kind, {})
        kinds[kind] = {name: [*listed.get(name, ()), *rule(name)] for name in case.forget_names}
    for kind, words in kinds.items():
        if any(name in case.forget_names for name in words):
            yield Step(kind, 8, partial(_try_words, case, kind, words))


def _try_words(case: Case, kind: str, words: Mapping[str, Sequence[str]], _: Advance) -> Attack:
    return try_other_names(case, kind, words)


def try_other_names(case: Case, kind: str, others: Mapping[str, Sequence[str]]) -> Attack:
    """Replaces every forgotten name by its first, second, … other name; several may share one (a hypernym).

    An other name that is one of the classes is not tried. If one name is too long for the text tower, none of the
    names of its turn is scored.
    """
    tries: list[Try] = []
    too_long = 0
    for turn in range(max((len(words) for words in others.values()), default=0)):
        chosen = {
            name: words[turn]
            for name, words in others.items()
            if name in case.forget_names and turn < len(words) and words[turn] not in case.names
        }
        if not chosen:
            continue
        names = list(dict.fromkeys(chosen.get(name, name) for name in case.names))
        columns = {name: names.index(chosen.get(name, name)) for name in case.names}
        try:
            plain, adapted = case.score_both(names)
        except PromptTooLongError:
            too_long += len(chosen)
            continue
        tries += case.compare(chosen, plain, adapted, columns)
    question = QUESTIONS.get(kind, f"Does the {kind} word bring it back?")
    return Attack(kind, CALLER, question, tuple(tries), {"too_long": too_long} if too_long else {})
