"""Rules that make other forms of an English name: plurals, misspellings, phrases."""

from __future__ import annotations

import hashlib

import numpy as np

PHRASES = (
    "a man holding a {}", "someone with a {}", "a {} on a table", "a red {}", "a toy {}", "a broken {}",
    "a {} in the snow", "a dog next to a {}",
)  # fmt: skip
PREPOSITIONS = ("of", "with", "in", "on", "from")


def make_plural(name: str) -> str:
    """The name's plural by rule; a plural becomes a singular.

    The rule changes the word before a preposition ("glass of wine"), and both words around "and".
    """
    words = name.split()
    end = next((i for i, word in enumerate(words) if i and word in PREPOSITIONS), len(words))
    heads = {end - 1} | {i - 1 for i, word in enumerate(words[:end]) if word == "and" and i}
    return " ".join(_switch_number(word) if i in heads else word for i, word in enumerate(words))


def _switch_number(word: str) -> str:
    """Singular to plural, and back."""
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and len(word) > 1 and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def list_misspellings(name: str) -> list[str]:
    """At most four, always the same for a name: two letters swapped, one left out, one doubled, blanks left out."""
    places = [i for i in range(1, len(name) - 1) if name[i].isalpha() and name[i + 1].isalpha()]
    if not places:
        return []
    draw = np.random.default_rng(list(hashlib.sha256(name.encode()).digest()[:8]))
    swap, drop, double = (places[int(i)] for i in draw.integers(0, len(places), 3))
    forms = [
        name[:swap] + name[swap + 1] + name[swap] + name[swap + 2 :],
        name[:drop] + name[drop + 1 :],
        name[:double] + name[double] + name[double:],
        name.replace(" ", ""),
    ]
    return [form for form in dict.fromkeys(forms) if form != name]


def list_phrases(name: str) -> list[str]:
    """The name inside phrases, after "a" or "an" as it begins, and two of it."""
    vowel = name[:1].lower() in "aeiou"
    phrases = [phrase.replace("a {}", "an {}") if vowel else phrase for phrase in PHRASES]
    plural = make_plural(name)
    return [*(phrase.format(name) for phrase in phrases), f"two {plural if len(plural) > len(name) else name}"]
