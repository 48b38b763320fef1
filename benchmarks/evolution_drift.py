"""How far weights drift when perturbations are added and taken away again, and what that costs.

    python benchmarks/evolution_drift.py

One generation of 30 perturbations (sigma 0.001, alpha 0.0005, z-scored rewards) on matrices of
normal weights with standard deviation 0.02. "In place" is the published style: noise is added,
then subtracted, and every matrix draws from the same seed. "Master copy" is this package's. Drift
is the root mean square of what the round trips alone changed, over that of the update; "same noise"
is the correlation of the noise of two matrices of one shape; "lost" the share of weights that the
update does not change: with a master copy it is kept there and
adds up, in place it is gone.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from apportion.train.evolution.noise import draw, members
from apportion.train.evolution.perturbed import PerturbedWeights
from apportion.train.evolution.shaping import shape

SIZE, SIGMA, RATE, POPULATION = 512, 0.001, 0.0005, 30


class TwoMatrices(torch.nn.Module):
    """Two matrices of one shape."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        for name in ("first", "second"):
            weight = (0.02 * torch.randn(SIZE, SIZE)).to(dtype)
            self.register_parameter(name, torch.nn.Parameter(weight))

    def flat(self) -> torch.Tensor:
        """All weights, in double precision."""
        return torch.cat([p.detach().double().flatten() for p in self.parameters()])


def same_seed_noise(like: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise of a generator that is seeded anew for each matrix."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator).to(like.dtype)


@torch.no_grad()
def in_place(model: TwoMatrices, utilities: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, float]:
    """(after the round trips, after the update, correlation of the two matrices' noise)."""
    for seed in range(POPULATION):
        for sign in (1, -1):
            for p in model.parameters():
                p.add_(sign * SIGMA * same_seed_noise(p, seed))
    restored = model.flat()
    for p in model.parameters():
        moved = sum(float(u) * same_seed_noise(p, i).float() for i, u in enumerate(utilities))
        p.add_((RATE / POPULATION * moved).to(p.dtype))
    noise = [same_seed_noise(p, 0).float().flatten() for p in model.parameters()]
    return restored, model.flat(), float(torch.corrcoef(torch.stack(noise))[0, 1])


def master_copy(
    model: TwoMatrices, utilities: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The same with this package's weights."""
    weights = PerturbedWeights(model, SIGMA, seed=0)
    group = members(POPULATION, antithetic=False)
    for member in group:
        with weights.at(1, member):
            pass
    restored = model.flat()
    weights.step(1, group, utilities, RATE)
    noise = [draw(0, 1, 0, name, p).flatten() for name, p in weights.master.items()]
    return restored, model.flat(), float(torch.corrcoef(torch.stack(noise))[0, 1])


def main() -> None:
    """Print a row for each style and precision."""
    utilities = shape(np.random.default_rng(0).normal(size=POPULATION).tolist(), "zscore", SIGMA)
    print("style        precision  not restored  drift / update  lost   same noise  seconds")
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        for name, run in (("in place", in_place), ("master copy", master_copy)):
            model = TwoMatrices(dtype)
            before, started = model.flat(), time.perf_counter()
            restored, after, together = run(model, utilities)
            seconds = time.perf_counter() - started
            drift = (restored - before).square().mean().sqrt()
            update = (after - restored).square().mean().sqrt()
            off, still = (restored != before).double().mean(), (after == restored).double().mean()
            print(
                f"{name:12} {str(dtype).removeprefix('torch.'):10} {float(off):11.1%} "
                f"{float(drift / update):15.2g} {float(still):6.1%} {together:11.3f} {seconds:8.2f}"
            )


if __name__ == "__main__":
    main()
