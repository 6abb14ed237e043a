"""The explanations that an audit prints below its tables."""

from __future__ import annotations

from hf_unlearn.adapters.model_card import DUAL_USE, scope

LIMITS = (
    f"{DUAL_USE} An audit shows what these attacks found on these images. It does not show that there is nothing else "
    "to find."
)
EXPLAINED = {  # key of a table -> what its columns mean
    "figures": "Err_for: share of forget images named wrong; Acc_mem: share of kept images named right; H: their "
    "harmonic mean. entropy 100: the scores of forget images are all equal. recover.: how much of the forgotten class "
    "a probe reads off the scores. detect: how well the scores separate forget images from unlisted ones; 50 is "
    "chance. named beside 4: forget images whose name wins beside four random kept names; a mask has 0. bypass: "
    "accuracy on forget images under the plain prompt 'a photo of a …' without a context; an edit stays in effect. "
    "The label mask costs nothing: an adapter must beat it.",
    "verdict": "One check per limit; all that were measured must pass. Shares in %. Attacks that add tokens to the "
    "prompt or read the model's features are shown, not judged: no adapter promises to withstand them.",
    "attacks": "right: share of forget images that the model names right again under the attack, the mean over "
    "classes. plain: the same without the adapter. Both are over the tries that the plain model knows: it names at "
    "least half of the class's images right under the same try. known: how many tries these are, of all. needs: "
    "caller chooses names, sentences and pictures; prompt also changes the prompt's tokens. An attack with fewer than "
    "three known classes does not decide the verdict. Short lists have a separate limit.",
    "strongest": "Of each attack the one try that brought most of one class back: the best of many, so partly luck.",
    "short lists": "Forget images whose name wins beside 1, 4, 9 or 19 random kept names. Users offer five labels, "
    "not sixty, and a name that loses to the best of sixty may win among five. Chance is 50, 20, 10 and 5. A label "
    "mask has 0. The verdict's limit is on the column of 4.",
    "relearning": "The attacker leaves the adapter in place and trains tokens before the names, after its context if "
    "it has one, on a few pictures per forgotten class. The fewer queries the curve needs to rise, the weaker the "
    "suppression.",
    "harm": "Accuracy lost on classes that should not suffer; the five that lost most. Intervals are bootstraps: a "
    "class's over its drawings, a mean's over classes.",
    "calibration": "On kept images, lower is better. calibration error: the gap between confidence and accuracy.",
    "groups": "Accuracy per group of classes without and with the adapter; gap: best group minus worst. An adapter "
    "that changes one group more than another treats them differently. The verdict's limit is on the lower end of the "
    "interval of that difference. For forgotten classes lower accuracy is more forgetting.",
    "probes": "A logistic-regression probe, fitted on other pictures of the forgotten classes; 0 is guessing, 100 is "
    "every class right. Image features do not change, since contexts and edits both touch the text side only. So a "
    "search from image to image still finds the forgotten classes.",
    "membership": "epsilon: how much surer an attacker becomes that a drawing was in training, on the scale of "
    "differential privacy; 0 is not at all. All bounds hold together with 95 % (Clopper-Pearson, Bonferroni). More "
    "adapters can show more: a bound at the most that can be shown means 'at least that'. Membership of an edit is "
    "not measured.",
    "not run": "Attacks that this adapter, this model or the images given do not allow; they prove nothing.",
}


def describe_limits(kind: str) -> str:
    """What an adapter of this kind does not do, and what an audit does not show."""
    return f"{scope(kind)} {LIMITS}"
