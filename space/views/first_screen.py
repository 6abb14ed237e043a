"""The first screen's answer as HTML. Buttons say what they do by `data-act` and `data-name`."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hf_unlearn.models.embedded import EMBEDDED
from space.inputs.limits import one_line
from space.services.instant_edit import Answer
from space.services.picture_strip import Cell, Unseen
from space.services.pictures import Picture
from space.services.recipe import OWN_PHOTO, Recipe
from space.services.verdict import NONE, Bar, Guess, Verdict
from space.services.whole_words import keep_words

BARS = 3
WORDS = {
    "no picture": "Drop a photo of yours, or pick a picture below.",
    "no names": "Type a word above. The model stops recognizing it within a second.",
}
GOOD = ("forgotten", "kept")
BAD = ("leaks", "lost", "other name")
LISTED = 6  # names of a note that are written out
NO_PICTURE = "No picture here shows a name that you wrote. Use a photo of yours to try it."
NAME_IT = "Write what it shows under “Compare with”."
PHOTO_OF_EMOJI_MODEL = (
    "It was trained on emoji drawings and knows few photographs: pick a drawing below, or write what yours shows under "
    "“Compare with”."
)


def render_comparison(answer: Answer) -> str:
    """The same three labels before and after, the forgotten ones struck through."""
    bars = _pick_bars(answer.bars)
    if not bars:
        return ""
    forgets = bool(answer.recipe.forget) and answer.recipe.enabled
    return (
        '<div class="compare">'
        + _column("Before", [(bar.name, bar.before, False) for bar in bars])
        + _column("After", [(bar.name, bar.after, bar.forgotten and forgets) for bar in bars])
        + "</div>"
    )


def _pick_bars(bars: Sequence[Bar]) -> list[Bar]:
    """The labels that matter most before or after; "none of these" is always the last one."""
    names = sorted((bar for bar in bars if bar.name != NONE), key=lambda bar: -max(bar.before, bar.after))[: BARS - 1]
    return [*sorted(names, key=lambda bar: -bar.before), *(bar for bar in bars if bar.name == NONE)]


def _column(title: str, rows: Sequence[tuple[str, float, bool]]) -> str:
    items = "".join(
        f'<li class="{"gone" if gone else "floor" if name == NONE else "kept"}">'
        f"<span class='name'>{_struck(name, gone)}</span><span class='share'>{_percent(share)}</span>"
        f'<span class="track"><span style="width:{100 * share:.1f}%"></span></span></li>'
        for name, share, gone in rows
    )
    return f"<section aria-label='{title}'><h2>{title}</h2><ul>{items}</ul></section>"


def render_verdict(answer: Answer) -> str:
    """The outcome in words, with a button that adds or protects a name; what it does not show, below."""
    verdict = answer.verdict
    bad = verdict.outcome in BAD or (verdict.outcome == "other label" and bool(verdict.suggestion))
    colour = "good" if verdict.outcome in GOOD else "bad" if bad else "plain"
    words, notes = [_describe(verdict)], [_describe_unseen(answer), *_describe_repeats(answer)]
    if verdict.outcome == "unknown":
        words.append(PHOTO_OF_EMOJI_MODEL if _strange_photo(answer) else NAME_IT)
    if verdict.outcome == "kept only":
        words.insert(0, notes.pop(0))  # what matters is that the effect is not shown
    below = "".join(f"<p class='note'>{note}</p>" for note in notes if note)
    return f'<p class="verdict {colour}">{" ".join(words).strip()}</p>{below}'


def _strange_photo(answer: Answer) -> bool:
    return answer.shown == OWN_PHOTO and answer.recipe.base == EMBEDDED


def _describe(verdict: Verdict) -> str:
    if verdict.before is None or verdict.after is None:
        return escape(WORDS.get(verdict.outcome, ""))
    before, after, more = _guess(verdict.before), _guess(verdict.after), verdict.suggestion
    too = _button("add", more, f"Forget “{more}” too") if more else ""
    shares = f"{_percent(verdict.before.share)} → {_percent(verdict.after.share)}"
    still = verdict.after.name == verdict.before.name
    match verdict.outcome:
        case "no names":
            return f"{WORDS['no names']} Now it sees {before}."
        case "off":
            return f"Switched off: this is the plain model. It sees {before}."
        case "unknown":
            return "The plain model recognizes none of these labels in this picture."
        case "forgotten":
            return f"It knew this as {before}. Now it doesn't: {after}."
        case "leaks":
            return f"It knew this as {before}. It still says {after}."
        case "other label":
            return f"It knew this as {before}. {'It still' if still else 'Now it'} says {after}. {too}"
        case "other name":
            return f"It knew this as {before}. Now it doesn't, but offered another name, it takes it: {after}. {too}"
        case "related":
            return f"“{_text(verdict.after.name)}” may be another name of what you forget: {shares}. {too}"
        case "kept" | "kept only":
            return f"It still knows “{_text(verdict.after.name)}”: {shares}."
        case _:
            return f"It knew this as {before}, and now says {after}. " + _button("protect", more, f"Protect “{more}”")


def _describe_unseen(answer: Answer) -> str:
    """Names to forget whose effect is not shown, with what to forget as well."""
    seen = {answer.verdict.before.name} if answer.verdict.before else set()
    unseen = [each for each in answer.unseen if each.name not in seen]
    unknown, nowhere = ([each for each in unseen if each.pictured is pictured] for pictured in (True, False))
    parts = []
    if unknown:
        parts += [f"The plain model doesn't know {_list(unknown)}: it says so of no picture here."]
    if nowhere:
        parts += [f"No picture here shows {_list(nowhere)}, so you can't see its effect."]
    found = [each.instead for each in unseen[:LISTED] if each.instead not in ((), (answer.verdict.suggestion,))]
    parts += [_button("add", ",".join(more), f"Forget {', '.join(f'“{name}”' for name in more)} too") for more in found]
    return " ".join(parts)


def _describe_repeats(answer: Answer) -> list[str]:
    return [
        f"To this model “{_text(name)}” and “{_text(first)}” are one name: it counts once."
        for name, first in list(answer.repeats.items())[:LISTED]
    ]


def _list(unseen: Sequence[Unseen]) -> str:
    names = ", ".join(f"“{_text(each.name)}”" for each in unseen[:LISTED])
    return names + (f" and {len(unseen) - LISTED} more" if len(unseen) > LISTED else "")


def render_error(message: str) -> str:
    """A refusal, in the place of the verdict."""
    return f'<p class="verdict bad">{escape(message, quote=False)}</p>'


def render_strip(answer: Answer) -> str:
    """Twelve pictures, each with what the model says before and after, and how many are as asked."""
    if not answer.strip:
        return f"<p class='note'>{NO_PICTURE}</p>"
    items = "".join(_cell(cell, cell.picture.key == answer.shown) for cell in answer.strip)
    return f"<p class='tally'>{describe_strip(answer)}</p><ul class='strip' aria-live='off'>{items}</ul>"


def describe_strip(answer: Answer) -> str:
    """How many pictures are forgotten, and how many are kept."""
    parts = []
    for to_forget, words in ((True, "forgotten"), (False, "kept")):
        cells = [cell for cell in answer.strip if cell.to_forget is to_forget]
        if cells:
            parts.append(f"<b>{sum(cell.as_asked for cell in cells)} of {len(cells)}</b> pictures {words}")
    return ", ".join(parts) + "."


def _cell(cell: Cell, shown: bool) -> str:
    kind = ("gone" if cell.to_forget else "kept") if cell.as_asked else "wrong"
    drawn = f"{cell.picture.name} ({cell.picture.artist})"
    return (
        f'<li><button type="button" class="{kind}" data-act="show" data-name="{escape(cell.picture.key)}" '
        f'aria-pressed="{str(shown).lower()}">{_image(cell.picture)}'
        f"<span class='unseen'>{_text(drawn)}: before </span>"
        f"<span>{_struck(cell.before.name, cell.to_forget and cell.as_asked)}</span>"
        f"<span class='unseen'>, after </span><span>{_text(cell.after.name)}</span></button></li>"
    )


def render_thumbnails(pictures: Sequence[Picture]) -> str:
    """Pictures to choose from, each with its name."""
    items = "".join(
        f'<li><button type="button" data-act="show" data-name="{escape(picture.key)}">{_image(picture)}'
        f"<span>{_text(picture.name)}</span></button></li>"
        for picture in pictures
    )
    return f"<ul class='strip'>{items}</ul>" if pictures else ""


def _image(picture: Picture) -> str:
    return f'<img src="pictures/{escape(picture.key)}.png" alt="" width="64" height="64" loading="lazy">'


def render_neighbours(answer: Answer) -> str:
    """Words of the model's vocabulary that the edit changes as well, each with a button that protects it."""
    from hf_unlearn.edits.neighbours import NEARLY  # loads torch

    if answer.adapter is None:
        return ""
    config = answer.adapter.config
    found = [each for each in keep_words(config.neighbours, config.base_model) if each["similarity"] < NEARLY]
    if not found:
        return "<p class='note'>No other word of the model's vocabulary changes much.</p>"
    buttons = " ".join(_button("protect", item["word"], item["word"], f"Protect {item['word']}") for item in found[:12])
    return f"<p class='nearby'>These words are forgotten along with them. Click to protect one: {buttons}</p>"


def render_banner(recipe: Recipe) -> str:
    """What a link does, for a visitor who opens it."""
    names = ", ".join(map(_text, recipe.forget))
    return f"<p>This link makes the model forget: <b>{names}</b>.</p>"


def render_problems(problems: Sequence[str]) -> str:
    """What of a link can't be used."""
    items = "".join(f"<li>{_text(problem)}</li>" for problem in problems)
    return (
        "<div class='panel' role='alert'><p><b>A part of this link can't be used.</b> "
        "The rest of it, or the example, is shown instead.</p>"
        f"<ul>{items}</ul></div>"
    )


def _button(act: str, name: str, words: str, label: str = "") -> str:
    described = f' aria-label="{escape(label)}"' if label else ""
    return f'<button type="button" data-act="{act}" data-name="{escape(name)}"{described}>{_text(words)}</button>'


def _guess(guess: Guess) -> str:
    name = _text(guess.name)
    return f"<b>{name if guess.name == NONE else f'“{name}”'}</b> ({_percent(guess.share)})"


def _struck(name: str, gone: bool) -> str:
    return f"<s>{_text(name)}</s>" if gone else _text(name)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _text(name: str) -> str:
    """A visitor's name as text on one line."""
    return escape("".join(char if char.isprintable() else "�" for char in one_line(name)))
