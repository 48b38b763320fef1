"""What the objectives ``trice``, ``star`` and ``rejection`` can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from apportion.config.section import Section


class TriceConfig(Section):
    """Chains learned from right answers alone, on ``problems`` training problems that are seen
    again and again; an update draws ``train.prompts_per_update`` of them.

    ``hint`` is the prompt, a shipped name or a text file, under which a *guide* writes chains with
    the answer in sight. The guide is the policy itself; with ``guide_updates`` it is a copy that
    first learns to use the hint, from ``guide_samples`` completions of each problem, each under
    the answer that it reached.

    Objective trice: ``tries`` chains a problem fill the memory at first, the guide's or the
    policy's own (``bootstrap``). ``control_variate`` takes its acceptance rate from the rest of
    the batch ("batch") or also from the same problem's earlier proposals ("example"). Of the terms
    of the gradient ``terms`` are drawn systematically and computed (default: all).

    Objectives star and rejection: the updates are split into ``rounds``. Each begins with
    ``samples`` completions a problem, of which the right ones are learned; star writes chains for
    problems without any under the hint, ``samples`` again. With ``restart`` every round trains
    from the policy at the start of the run, as the paper does.

    ``clip`` bounds the norm of the gradient (0: not bounded). A chain's log-probability is summed
    over its tokens, so norms are in the tens: a bound of 1 would act on every update.
    """

    problems: int = Field(default=64, ge=1)
    hint: str = "hint"
    guide_updates: int = Field(default=0, ge=0)
    guide_samples: int = Field(default=4, ge=1)
    guide_learning_rate: float = Field(default=1e-3, gt=0)
    bootstrap: Literal["guide", "policy"] = "guide"
    tries: int = Field(default=4, ge=1)
    control_variate: Literal["none", "batch", "example"] = "batch"
    terms: int | None = Field(default=None, ge=1)
    rounds: int = Field(default=4, ge=1)
    samples: int = Field(default=4, ge=1)
    restart: bool = True
    clip: float = Field(default=0.0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
