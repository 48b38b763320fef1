"""What a network that says a number at each token can be told."""

from __future__ import annotations

from pydantic import Field

from apportion.config.section import Section


class TokenModelConfig(Section):
    """A copy of the policy's network with a scalar head, read at each token of a completion. Used
    by the credit methods ``critic`` (the value) and ``oreal`` (the token reward).

    Before the policy moves it learns ``updates`` batches of ``batch_size`` of the policy's own
    completions of ``problems`` training problems, ``samples`` each (0 updates: none are sampled).
    After each update of the policy it learns ``refresh_updates`` further batches from the last
    ``buffer`` completions of training.
    """

    problems: int = Field(default=128, ge=1)
    samples: int = Field(default=4, ge=1)
    updates: int = Field(default=100, ge=0)
    batch_size: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    refresh_updates: int = Field(default=2, ge=0)
    buffer: int = Field(default=128, ge=1)
    clip: float = Field(default=1.0, ge=0)
