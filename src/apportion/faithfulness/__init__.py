"""Whether the chain is the reason for the answer: one measure, one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apportion.errors import UserError, nearest
from apportion.faithfulness.added_mistakes import AddedMistakes
from apportion.faithfulness.anchoring_lexical import AnchoringLexical
from apportion.faithfulness.anchoring_probability import AnchoringProbability
from apportion.faithfulness.anchoring_trajectory import AnchoringTrajectory
from apportion.faithfulness.attention_suppression import AttentionSuppression
from apportion.faithfulness.base import Measure, over_problems
from apportion.faithfulness.bias import Bias
from apportion.faithfulness.commitment import CommitmentBoundary
from apportion.faithfulness.counterfactual import Counterfactual
from apportion.faithfulness.decision_points import DecisionPoints
from apportion.faithfulness.early_answering import EarlyAnswering
from apportion.faithfulness.filler import Filler
from apportion.faithfulness.forced_answer import ForcedAnswer
from apportion.faithfulness.hint_use import HintUse
from apportion.faithfulness.latent.cut import LatentCut
from apportion.faithfulness.latent.decoded import LatentDecoded
from apportion.faithfulness.latent.replaced import LatentMean, LatentNoise, LatentSwap
from apportion.faithfulness.latent.values import LatentValues
from apportion.faithfulness.mediation import Mediation
from apportion.faithfulness.monitorability import Monitorability
from apportion.faithfulness.paraphrase import Paraphrase
from apportion.faithfulness.receiver_heads import ReceiverHeads
from apportion.faithfulness.resampling import Resampling
from apportion.faithfulness.shows import CaughtMistakes, Performative
from apportion.faithfulness.stated_values import StatedValues
from apportion.faithfulness.step_deletion import StepDeletion
from apportion.faithfulness.step_mediation import StepMediation
from apportion.faithfulness.subject import Answer, Framed, Subject
from apportion.faithfulness.true_thinking import TrueThinking
from apportion.trace import Probe

MEASURES: dict[str, type[Measure]] = {
    measure.name: measure
    for measure in (
        EarlyAnswering,
        AddedMistakes,
        Paraphrase,
        Filler,
        StepDeletion,
        HintUse,
        Bias,
        Performative,
        CaughtMistakes,
        AnchoringLexical,
        AnchoringProbability,
        AnchoringTrajectory,
        AttentionSuppression,
        CommitmentBoundary,
        Counterfactual,
        DecisionPoints,
        ForcedAnswer,
        Mediation,
        Monitorability,
        ReceiverHeads,
        Resampling,
        StepMediation,
        TrueThinking,
        StatedValues,
        LatentNoise,
        LatentMean,
        LatentSwap,
        LatentCut,
        LatentValues,
        LatentDecoded,
    )
}

__all__ = [
    "MEASURES",
    "Answer",
    "Framed",
    "Measure",
    "Probe",
    "Subject",
    "load_measure",
    "load_measures",
    "over_problems",
]


def load_measure(spec: str | dict[str, Any]) -> Measure:
    """The measure that ``{"name": one of MEASURES, option: value, ...}``, or a bare name, is.

    Raises UserError for an unknown measure or option, or a bad value.
    """
    from pydantic import ValidationError

    from apportion.records import reason

    options = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = str(options.pop("name", ""))
    if name not in MEASURES:
        raise UserError(
            f"unknown measure '{name}'{nearest(name, list(MEASURES))}; see apportion ls measures"
        )
    try:
        return MEASURES[name].model_validate(options)
    except ValidationError as error:
        raise UserError(f"measure {name}: {reason(error)}") from None


def load_measures(specs: Sequence[str | dict[str, Any]]) -> list[Measure]:
    """Several, see :func:`load_measure`.

    Raises UserError also where there is none, or one of them is named twice: what is recorded goes
    by the measure's name.
    """
    measures = [load_measure(spec) for spec in specs]
    names = [measure.name for measure in measures]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"measure {twice[0]} is named twice")
    if not names:
        raise UserError("name at least one measure; see apportion ls measures")
    return measures
