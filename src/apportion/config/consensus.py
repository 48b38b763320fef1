"""How reviews become one verdict."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from apportion.config.section import Section

Rate = Annotated[float, Field(ge=0, le=1)]


class ConsensusConfig(Section):
    """How reviews become one verdict per step; see ``apportion.consensus.Voting``.

    ``rates`` "measured" fills in each reviewer's rates on planted errors when training starts.
    """

    rule: Literal["majority", "union", "intersection", "average", "greedy", "dawid_skene"] = (
        "majority"
    )
    quorum: float = Field(default=0.66, ge=0.5, le=1.0)
    min_reviews: int = Field(default=1, ge=1)
    partial: bool = True
    min_families: int = Field(default=1, ge=1)
    weights: dict[str, float] = Field(default_factory=dict)
    rates: dict[str, tuple[Rate, Rate]] | Literal["measured"] = Field(default_factory=dict)
    families: dict[str, str] = Field(default_factory=dict)

    @field_validator("weights")
    @classmethod
    def _not_negative(cls, weights: dict[str, float]) -> dict[str, float]:
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"the weight of {name} is negative: {weight}")
        return weights
