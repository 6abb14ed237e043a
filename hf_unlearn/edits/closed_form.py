"""Solves for an edit in closed form, in float64.

With `c` the mean word, `d = t - c` what distinguishes a name from it, `n` the length of `d` and `u = d / n`:

1. The least change `D` of the words and of what is kept, in which every forgotten name turns against itself:

       min  tr(D M D')   so that   u·D t = -(1 + tau) n   for every forgotten name,   D c = 0

   `M` is the second moment of the held features (each minus `c`) plus `rho I`. The solution is
   `D = -sum_f lambda_f u_f v_f'` with `v_f = M^-1 t_f` and `(u u' * t v') lambda = (1 + tau) n`, `*` entry by
   entry. Relatives: LEACE (Belrose et al., arXiv 2306.03819), which is least squares in the metric of the features.
   Unified Concept Editing (Gandikota et al., arXiv 2308.14761). The null space of the names (Mishra et al., arXiv
   2512.14137).
2. The length that a name lost is restored in empty directions, in which the held features vary least. Without it,
   normalizing would enlarge what remains of the name. In the narrow cone of a real CLIP's text features, the name would
   then lie amid all others and win against each of them.
3. A gate lets the edit act near the names only. A linear map of 40 names in a narrow space can't spare the rest.

All of this happens in the span of the centred features, so a constant part that all texts share changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hf_unlearn.arguments import share
from hf_unlearn.errors import InputError
from hf_unlearn.models.text_edit import Gate, TextEdit
from hf_unlearn.text import brief

FURTHEST = 0.6  # `tau`: how far a name turns, of what it was
NOWHERE = 8  # empty directions at most, which receive the length that a name loses
AS_SUCH = 6.0  # standard deviations at which the gate of a name opens for hardly more than itself
EDGE = 0.4  # softness of the gate, in standard deviations of the similarity of words
SPREAD = 5e-3, 0.14  # of the similarity of words, at least and at most: the gate must open at the names themselves
LEAK_WEIGHT = 1_000.0  # of the leak term's targets, against the mean held feature
JITTER = 1e-2  # of the mean squared feature in the metric
SAME = 1e-6  # 1 - cosine of two names that are one, as "Gun" and "gun" are to a tokenizer that knows no capitals
SINGULAR = 1e-10  # of the largest eigenvalue: equations below it say nothing


def solve_edit(forget: Tensor, keep: Tensor, words: Tensor, *, breadth: float = 0.5, strength: float = 0.5) -> TextEdit:
    """The edit that forgets some names and holds others, and words, in place.

    Args:
        forget: `(templates, F, width)` unit text features of the names to forget.
        keep: `(templates, n, width)` of the kept names; `n` may be 0.
        words: `(templates, m, width)` of anything else; `m` at least a few times the number of names.
        breadth: 0 forgets the names alone, 1 also everything near them. It sets how far out the gate opens,
            `6 - 4 breadth` standard deviations of the similarity of words, and the metric's ridge.
        strength: up to 0.5, how far a name is turned against itself; at 0 it scores like any other text. Beyond 0.5,
            scores of kept names also distinguish forgotten images less (the leak term), at a cost to these names.

    Returns:
        The edit, gated: rank at most `F` + 8, float32.

    Raises:
        InputError: if `breadth` or `strength` is not from 0 to 1, or there are no names or no words. Also if features
            are not finite or of another shape. Also if a name equals the mean word, or there are more names than
            directions in which texts vary.
    """
    breadth, strength = share("breadth", breadth), share("strength", strength)
    if wrong := [x for x in (forget, keep, words) if not isinstance(x, Tensor) or x.ndim != 3]:
        shape = tuple(wrong[0].shape) if isinstance(wrong[0], Tensor) else brief(wrong[0])
        raise InputError(f"expected text features of shape (templates, texts, width), got {shape}")
    if not forget.shape[1] or not words.shape[1]:
        raise InputError(f"expected names to forget and words to hold, got {forget.shape[1]} and {words.shape[1]}")
    forget, keep, words = (x.detach().cpu().double() for x in (forget, keep, words))
    if not all(x.isfinite().all() for x in (forget, keep, words)):
        raise InputError("expected text features of finite numbers, got NaN or infinity")
    centre = words.mean((0, 1))
    forget, keep, words = (x - centre for x in (forget, keep, words))
    names, held = _distinct(forget.mean(0)), words.flatten(0, 1)
    span = _span(torch.cat([names, keep.flatten(0, 1), held]))
    own, kept, held, middle = (x @ span for x in (names, keep.flatten(0, 1), held, centre[None]))
    length = own.norm(dim=1, keepdim=True)
    unit = own / length
    moment = _moment(held) + (_moment(kept) if len(kept) else 0.0)
    metric = moment + 10 ** (2 * breadth - 2.5) * torch.eye(len(moment), dtype=moment.dtype)
    scale = held.square().sum(1).mean()
    turned, leak = FURTHEST * min(1.0, 2 * strength), max(0.0, 2 * strength - 1)
    up, down, after = _turn(own, unit, length, kept if leak else kept[:0], metric, middle[0], turned, leak, scale)
    nowhere = _signed(_nowhere(moment, torch.cat([unit, middle])), span)
    if nowhere.shape[1]:
        up, down = _keep_length(up, down, own, after, length, metric, middle[0], nowhere)
    gate = _gate(centre, names, keep.mean(0) if leak else names[:0], words, AS_SUCH - 4 * breadth)
    return TextEdit.of(span @ up, down @ span.T, gate)


def _distinct(names: Tensor) -> Tensor:
    """`(n, width)` centred rows without those parallel to an earlier one, which make the equations singular.

    Raises:
        InputError: if a row is zero.
    """
    lengths = names.norm(dim=1)
    if lengths.min() < SAME:
        raise InputError(
            f"the text features of name {int(lengths.argmin()) + 1} of {len(names)} are those of the mean word: "
            "nothing distinguishes it, so nothing can be forgotten"
        )
    unit = F.normalize(names, dim=1)
    return names[~(unit @ unit.T > 1 - SAME).tril(-1).any(1)]


def _gate(centre: Tensor, names: Tensor, kept: Tensor, words: Tensor, deviations: float) -> Gate:
    """Half open at so many standard deviations of the words' similarity; for `kept`, near the names alone."""
    near = F.normalize(torch.cat([names, kept]), dim=1)
    similarity = F.normalize(words.mean(0), dim=1) @ near[: len(names)].T
    spread = similarity.std().clamp(*SPREAD) if similarity.numel() > 1 else SPREAD[0]
    softness = EDGE * spread
    bias = torch.tensor([deviations] * len(names) + [AS_SUCH] * len(kept)) / EDGE
    return Gate(centre.float().contiguous(), (near / softness).float().contiguous(), bias)


def _span(centred: Tensor) -> Tensor:
    """`(width, r)`: an orthonormal basis of the span of `(n, width)` rows."""
    sizes, directions = _eigh(centred.T @ centred)
    return directions[:, sizes > 1e-9 * sizes[-1]]


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in ascending order and eigenvectors of a symmetric matrix."""
    sizes, vectors = torch.linalg.eigh(matrix)
    return sizes, vectors


def _moment(rows: Tensor) -> Tensor:
    """Second moment `(width, width)` of rows, scaled to a mean diagonal of 1; zero if all rows are."""
    moment = rows.T @ rows
    size = moment.diagonal().mean()
    return moment / size if size > 0 else moment


def _duals(metric: Tensor, points: Tensor, middle: Tensor) -> Tensor:
    """`M^-1 p` for every row `p` of `(n, r)`, each less what would move `middle`, `(r,)`: `v·c = 0`."""
    solved: Tensor = torch.linalg.solve(metric, torch.cat([points, middle[None]]).T).T
    duals, of_middle = solved[:-1], solved[-1]
    size = middle @ of_middle
    return duals - torch.outer(duals @ middle / size, of_middle) if size > 1e-12 else duals


def _turn(
    own: Tensor,
    unit: Tensor,
    length: Tensor,
    kept: Tensor,
    metric: Tensor,
    middle: Tensor,
    turned: float,
    leak: float,
    scale: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Step 1: `up (r, F)`, `down (F, r)`, and what becomes of the names, `(F, r)`.

    With `leak`, least squares also makes all forgotten names alike. And it removes from kept names what distinguishes
    the forgotten ones: the leak term `sum_f sum_c (u_f·D t_c + leak u_f·t_c)^2`. `scale` is the mean squared length of
    the held features.
    """
    angles = unit @ unit.T
    pulled = torch.zeros_like(own)
    if leak:
        inverse = torch.linalg.inv(angles + 1e-3 * torch.eye(len(unit), dtype=unit.dtype))
        alike = inverse.sum(0)  # coefficients of the vector that answers to every name by 1
        together = min(leak * turned, 0.9 / float((alike @ angles @ alike).sqrt()))
        of_names = -length * (together * alike + torch.eye(len(unit), dtype=unit.dtype))
        of_kept = -leak * kept @ unit.T @ inverse
        points = torch.cat([own, kept])
        weights = LEAK_WEIGHT / scale * torch.cat([leak * own.new_full((len(own),), 1 / len(own)),
                                           own.new_full((len(kept),), 1 / max(1, len(kept)))])  # fmt: skip
        metric = metric + (points * weights[:, None]).T @ points
        pulled = (torch.cat([of_names, of_kept]) * weights[:, None]).T @ _duals(metric, points, middle)
    duals = _duals(metric, own, middle)
    missing = (1 + turned) * length[:, 0] + (angles @ pulled @ own.T).diagonal()
    amounts = _amounts(angles * (own @ duals.T), missing)
    down = pulled - amounts[:, None] * duals
    return unit.T, down, own + own @ down.T @ unit


def _amounts(equations: Tensor, missing: Tensor) -> Tensor:
    """How much every name is turned, `(F,)`. The equations are positive definite by Schur's product theorem.

    Raises:
        InputError: if they have no solution.
    """
    sizes, vectors = _eigh((equations + equations.T) / 2)
    amounts: Tensor
    if sizes[0] > SINGULAR * sizes[-1]:
        amounts = torch.linalg.solve(equations, missing)
        return amounts
    good = sizes > SINGULAR * sizes[-1].clamp(min=1e-300)
    amounts = vectors[:, good] @ ((vectors[:, good].T @ missing) / sizes[good])
    if ((equations @ amounts - missing).abs() > 1e-3 * missing.abs()).any():
        raise InputError(
            f"no room to forget {len(missing)} names at once: the model's text features vary in too few directions, "
            "or a name is all that they have in common"
        )
    return amounts


def _nowhere(moment: Tensor, taken: Tensor) -> Tensor:
    """`(r, k)`: directions in which the held features vary least, orthogonal to the rows of `taken`."""
    _, sizes, right = torch.linalg.svd(taken, full_matrices=True)
    free: Tensor = right[int((sizes > 1e-9 * sizes[0]).sum()) :].T
    _, directions = _eigh(free.T @ moment @ free)
    return free @ directions[:, : min(NOWHERE, len(taken) - 1)]


def _signed(columns: Tensor, basis: Tensor | None = None) -> Tensor:
    """Columns whose largest entry, in the given basis, is positive: the sign of an eigenvector is arbitrary."""
    entries = columns if basis is None else basis @ columns
    largest = entries.gather(0, entries.abs().argmax(0, keepdim=True))
    return torch.where(largest < 0, -columns, columns)


def _keep_length(
    up: Tensor,
    down: Tensor,
    own: Tensor,
    after: Tensor,
    length: Tensor,
    metric: Tensor,
    middle: Tensor,
    nowhere: Tensor,
) -> tuple[Tensor, Tensor]:
    """Step 2: `up` and `down` with a map into `nowhere` that restores the length of every name.

    The names keep their angles to each other in these directions, which needs the smallest map.
    """
    duals = _duals(metric, own, middle)
    gram = own @ duals.T
    sizes, vectors = _eigh((gram + gram.T) / 2)
    places = _signed(vectors[:, -nowhere.shape[1] :]) * sizes[-nowhere.shape[1] :].clamp(min=0).sqrt()
    lost = (length**2 - after.square().sum(1, keepdim=True)).clamp(min=0).sqrt()
    eye = torch.eye(len(own), dtype=own.dtype)
    wanted = torch.linalg.solve(gram + JITTER * gram.diagonal().mean() * eye, lost * F.normalize(places, dim=1))
    return torch.cat([up, nowhere], 1), torch.cat([down, wanted.T @ duals])
