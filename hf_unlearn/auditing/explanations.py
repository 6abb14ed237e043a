"""An audit in plain words, and as Markdown in which nothing from a stranger is markup."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from hf_unlearn.adapters.model_card import DUAL_USE, scope

LIMITS = (
    f"{DUAL_USE} An audit shows what these attacks found on these images; that they found nothing does not show that "
    "there is nothing to find."
)
EXPLAINED = {
    "figures": "Err_for: share of forget images named wrong; Acc_mem: share of kept images named right; H: their "
    "harmonic mean. entropy 100: the scores of forget images are flat. recover.: how much of the forgotten class a "
    "probe reads off the scores. detect: whether forget images can be told from strange ones; 50 is guessing. "
    "named beside 4: forget images that get their own name beside four random kept names; a mask has 0. bypass: "
    "right on forget images asked plainly, 'a photo of a …' without a context; an edit stays in effect. The label mask "
    "costs nothing: beat it.",
    "verdict": "One check per limit; all that were measured must pass. Shares in %. Attacks that put tokens of their "
    "own in the prompt or read the model's features are shown, not judged: no adapter promises to withstand them.",
    "attacks": "right: share of forget images that the model names right again under the attack, the mean over "
    "classes. plain: the same without the adapter, so what there is to bring back. Both over the tries that the plain "
    "model knows (names at least half of the class's images right under the same try); known: how many of all. "
    "needs: caller chooses names, sentences and pictures; prompt also changes the prompt's tokens. An attack with "
    "fewer than three known classes does not decide the verdict, and short lists have a limit for themselves.",
    "strongest": "Of each attack the one try that brought most of one class back: the best of many, so partly luck.",
    "short lists": "Forget images that still get their own name when it stands beside 1, 4, 9 or 19 random kept "
    "names: people offer five labels, not sixty, and a name that loses to the best of sixty may win among five. Chance "
    "is 50, 20, 10 and 5. A label mask has 0. The verdict holds the column of 4.",
    "relearning": "The attacker leaves the adapter in place and learns tokens before the names, after its context if "
    "it has one, from a few own pictures per forgotten class. The fewer queries the curve needs to rise, the thinner "
    "the suppression.",
    "harm": "Accuracy lost on classes that should not suffer; the five that lost most. Intervals by bootstrap, a "
    "class's over its drawings, a mean's over classes.",
    "calibration": "On kept images, lower is better. calibration error: how far confidence is from being right as "
    "often as it claims.",
    "groups": "Accuracy per group of classes without and with the adapter; gap: best group minus worst. An adapter "
    "that changes one group more than another treats them differently: the verdict holds the lower end of the "
    "interval of that difference. For forgotten classes lower accuracy is more forgetting.",
    "probes": "A logistic-regression probe, fitted on other pictures of the forgotten classes; 0 is guessing, 100 is "
    "reading the class perfectly. Image features do not change: contexts and edits both touch the text side only, so "
    "what images show stays, and a search from image to image still finds it.",
    "membership": "epsilon: how much surer an attacker becomes that a drawing was in training, on the scale of "
    "differential privacy; 0 is not at all. All bounds hold together with 95 % (Clopper-Pearson, Bonferroni). More "
    "adapters can show more: a bound at the most that can be shown says only 'at least that'. Of an edit it is not "
    "measured.",
    "not run": "Attacks that this adapter, this model or what was given does not allow; they are no proof of anything.",
}


def limits(kind: str) -> str:
    """What an adapter of this kind does not do, and what an audit does not show."""
    return f"{scope(kind)} {LIMITS}"


def percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def figure(value: float | None, share: bool = True) -> str:
    if value is None:
        return "–"
    return percent(value) if share else f"{value:.2f}"


def visible(text: str) -> str:
    """Without control characters, and in one line."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def harmless(text: str) -> str:
    """For Markdown: no links, no HTML, no table cells, whatever the text holds."""
    plain = " ".join(visible(text).split())
    coded = (char if char.isalnum() or char in " ,.-–→()%" else f"&#{ord(char)};" for char in plain)
    return "".join(coded).replace("www.", "www&#46;")


def markdown(
    content: dict[str, Any],
    tables: Iterable[tuple[str, list[str], list[list[str]]]],
    drawn: Collection[str] = ("attacks", "harm", "relearning"),
) -> str:
    """`audit.md`; `drawn` are the tables that have a picture."""
    audited = content["adapter"]
    rows = content["metrics"]["rows"]
    keys = ("H", "err_for", "acc_mem", "short_list_4", "entropy", "recoverability", "forget_detect", "synonym_err",
            "collateral", "bypass_acc")  # fmt: skip
    lines = [
        f"# Audit: {content['verdict']}",
        "",
        f"Adapter for {harmless(audited['base_model'])}, {audited['kind']} {harmless(audited['weights_sha256'][:12])}; "
        f"forgets {', '.join(harmless(name) for name in audited['forget'])}.",
        "",
        limits(audited["kind"]),
        "",
        "## figures",
        "",
        *_table(["row", *keys], [[row["name"], *(percent(row.get(key)) for key in keys)] for row in rows]),
        "",
        EXPLAINED["figures"],
        "",
    ]
    for key, headings, cells in tables:
        lines += [f"## {harmless(key)}", "", *_table(headings, cells), "", EXPLAINED[key.split(":")[0]], ""]
        if key in drawn:
            lines += [f"![{key}]({key}.png)", ""]
    return "\n".join(lines)


def _table(headings: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[harmless(cell) for cell in row] for row in rows]
    return [
        f"| {' | '.join(headings)} |",
        f"|{'---|' * len(headings)}",
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
