"""The limits of the verdict, which the user can set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real

from hf_unlearn.errors import InputError
from hf_unlearn.text import brief


@dataclass(frozen=True)
class Thresholds:
    """The largest values that pass, as shares of 1; epsilon is no share.

    Attributes:
        max_forget: forget images named right without an attack.
        max_attack: forget images named right under the worst of the attacks that decide and had enough classes.
        max_short_list: forget images whose name wins beside four random kept names.
        max_recoverability: how well a probe reads the forgotten class off the scores.
        max_retain_drop: accuracy lost on kept classes, on average.
        max_class_drop: accuracy lost on the worst kept class.
        max_collateral: accuracy lost on classes in neither list.
        max_group_gap: how much further one group's accuracy changed than another's, lower bound.
        max_epsilon: membership, the lower bound of the worst drawing; it decides only where the adapters can show more.

    Raises:
        InputError: if a limit is negative or no number, or a share above 1.
    """

    max_forget: float = 0.25
    max_attack: float = 0.5
    max_short_list: float = 0.25
    max_recoverability: float = 0.8
    max_retain_drop: float = 0.15
    max_class_drop: float = 0.6
    max_collateral: float = 0.2
    max_group_gap: float = 0.15
    max_epsilon: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            top = math.inf if item.name == "max_epsilon" else 1.0
            number = float(value) if isinstance(value, Real) else math.nan
            if not (math.isfinite(number) and 0 <= number <= top):
                expected = "at least 0" if top == math.inf else "a share from 0 to 1"
                raise InputError(f"{item.name} must be {expected}, got {brief(value)}")
