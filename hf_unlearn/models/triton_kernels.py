"""The Triton kernels behind `fused` and `lbfgs`; to be imported where Triton and an NVIDIA GPU are."""

# mypy: allow-untyped-defs, disable-error-code="no-untyped-def"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _store_halves(target, value, column, inside, width: tl.constexpr, scale: tl.constexpr):
    """`value` as three parts of a row: rounded to halves, what rounding left, rounded again."""
    value = value * scale
    high = value.to(tl.float16)
    low = (value - high.to(tl.float32)).to(tl.float16)
    tl.store(target + column, high, inside)
    tl.store(target + width + column, low, inside)
    tl.store(target + 2 * width + column, high, inside)


@triton.jit
def normalized(
    hidden, offset, weight, bias, out, eps,
    width: tl.constexpr, stride: tl.constexpr, block: tl.constexpr, split: tl.constexpr, scale: tl.constexpr,
):  # fmt: skip
    """LayerNorm of `hidden + offset`, a program for each row; in halves with ones behind, or in the type of `out`."""
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, block)
    inside = column < width
    value = tl.load(hidden + row * width + column, inside, 0.0).to(tl.float32)
    value += tl.load(offset + column, inside, 0.0)
    centred = tl.where(inside, value - tl.sum(value) / width, 0.0)
    value = centred * (1 / tl.sqrt(tl.sum(centred * centred) / width + eps))
    value = value * tl.load(weight + column, inside, 0.0) + tl.load(bias + column, inside, 0.0)
    target = out + row * stride
    if split:
        _store_halves(target, value, column, inside, width, scale)
        behind = tl.arange(0, 8)
        tl.store(target + 3 * width + behind, tl.where(behind < 2, scale, 0.0).to(tl.float16))
    else:
        tl.store(target + column, value.to(out.dtype.element_ty), inside)


@triton.jit
def activated(
    given, out,
    width: tl.constexpr, block: tl.constexpr, activation: tl.constexpr, split: tl.constexpr, scale: tl.constexpr,
):  # fmt: skip
    """An activation (0 none, 1 OpenAI's GELU, 2 GELU) of rows; in halves, or in the type of `out`."""
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * block + tl.arange(0, block)
    inside = column < width
    value = tl.load(given + row * width + column, inside, 0.0).to(tl.float32)
    if activation == 1:
        value = value / (1 + tl.exp(-1.702 * value))
    if activation == 2:
        value = 0.5 * value * (1 + tl.erf(value * 0.7071067811865476))
    if split:
        _store_halves(out + row * 3 * width, value, column, inside, width, scale)
    else:
        tl.store(out + row * width + column, value.to(out.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["turn"])
def advanced(
    point, value, slope, direction, length, trial, value_there, slope_there, steps, changes, inverses, turn,
    sufficient, count, width: tl.constexpr, block: tl.constexpr, history: tl.constexpr,
):  # fmt: skip
    """One move of L-BFGS (see `lbfgs`) of each function in place, a program each, and the next trial.

    Move `turn` takes the place `turn % history` of `steps`, `changes`, `(history, count, width)`, and `inverses`.
    """
    row, column = tl.program_id(0), tl.arange(0, block)
    inside, own = column < width, tl.program_id(0) * width + tl.arange(0, block)
    here, along = tl.load(point + own, inside, 0.0), tl.load(direction + own, inside, 0.0)
    there, uphill = tl.load(trial + own, inside, 0.0), tl.load(slope_there + own, inside, 0.0)
    before, reach = tl.load(slope + own, inside, 0.0), tl.load(length + row)
    old, new = tl.load(value + row), tl.load(value_there + row)
    promised = reach * tl.sum(before * along)
    better = new <= old + sufficient * promised
    step, change = there - here, uphill - before
    curved = tl.sum(step * change)
    useful = better & (curved > 1e-10 * tl.sum(change * change))
    inverse = tl.where(useful, 1 / curved, 0.0)
    shorter = 0.5 * promised / (promised - (new - old))
    shorter = tl.where(shorter == shorter, tl.minimum(tl.maximum(shorter, 0.1), 0.5), 0.1)
    reach = tl.where(better, 1.0, reach * shorter)
    here, before = tl.where(better, there, here), tl.where(better, uphill, before)
    tl.store(point + own, here, inside)
    tl.store(slope + own, before, inside)
    tl.store(value + row, tl.where(better, new, old))
    tl.store(length + row, reach)
    place = turn % history
    tl.store(steps + place * count * width + own, step, inside)
    tl.store(changes + place * count * width + own, change, inside)
    tl.store(inverses + place * count + row, inverse)
    tl.debug_barrier()
    newton, size, found = -before, tl.full((), 1.0, tl.float32), tl.full((), 0, tl.int1)
    slots, factors = tl.arange(0, 16), tl.zeros((16,), tl.float32)
    for back in range(0, history):
        if back <= turn:
            at = (turn - back) % history
            past = tl.load(steps + at * count * width + own, inside, 0.0)
            turned = tl.load(changes + at * count * width + own, inside, 0.0)
            weight = tl.load(inverses + at * count + row)
            factor = weight * tl.sum(past * newton)
            newton -= factor * turned
            factors = tl.where(slots == back, factor, factors)
            scaled = 1 / (weight * tl.sum(turned * turned))
            size = tl.where((weight > 0) & (found == 0), scaled, size)  # the last useful pair's
            found = found | (weight > 0)
    newton *= size
    for forth in range(0, history):
        back = history - 1 - forth
        if back <= turn:
            at = (turn - back) % history
            past = tl.load(steps + at * count * width + own, inside, 0.0)
            turned = tl.load(changes + at * count * width + own, inside, 0.0)
            weight = tl.load(inverses + at * count + row)
            factor = tl.sum(tl.where(slots == back, factors, 0.0))
            newton += (factor - weight * tl.sum(turned * newton)) * past
    along = tl.where(better, newton, along)
    tl.store(direction + own, along, inside)
    tl.store(trial + own, here + reach * along, inside)
