"""Divide a fixed amount over tokens by weight, between a floor and a cap."""

from __future__ import annotations

import numpy as np


def share(
    weight_T: np.ndarray,
    debit_T: np.ndarray | None = None,
    *,
    floor: float = 0.0,
    cap: float = np.inf,
) -> np.ndarray:
    """Values c, shape (T,), with sum T: proportional to the weights, floor <= c <= cap.

    ``debit_T`` > 0 marks tokens that get -debit instead; the others share what that frees, never
    above the cap: a debit that they cannot take up is scaled down. What the cap cuts off goes to
    the tokens below it, by weight, and equally where none of them has weight. Equal weights, no
    weight, or no token to share give 1 everywhere. Raises ValueError for a negative weight or a
    cap below 1.
    """
    if cap < 1:
        raise ValueError(f"cap {cap} is below 1: the values could not have mean 1")
    if np.any(weight_T < 0):
        raise ValueError("weights must not be negative")
    owes = np.zeros(len(weight_T), bool) if debit_T is None else debit_T > 0
    free_T = weight_T[~owes]
    if len(free_T) == 0 or free_T.sum() == 0 or (not owes.any() and np.ptp(free_T) == 0):
        return np.ones(len(weight_T))
    values_T = np.ones(len(weight_T))
    if debit_T is not None and owes.any():
        room = len(free_T) * cap - len(weight_T)  # what the others can take up at most
        if room <= 0:
            return _fill(np.where(owes, 0.0, weight_T), len(weight_T), floor, cap)
        values_T[owes] = -debit_T[owes] * min(1.0, room / debit_T[owes].sum())
    amount = len(weight_T) - values_T[owes].sum()
    values_T[~owes] = _fill(free_T, amount, floor, cap)
    return values_T


def _fill(weight_T: np.ndarray, amount: float, floor: float, cap: float) -> np.ndarray:
    """Water-filling: proportional shares above the floor, the cap's overflow passed on."""
    count = len(weight_T)
    floor = min(floor, amount / count)
    values_T = floor + (amount - floor * count) * weight_T / weight_T.sum()
    for _ in range(count):
        over = values_T > cap
        if not over.any():
            break
        excess = (values_T[over] - cap).sum()
        values_T[over] = cap
        below = values_T < cap
        if not below.any():
            break
        part = weight_T * below
        part = part / part.sum() if part.sum() > 0 else below / below.sum()
        values_T += excess * part
    return values_T
