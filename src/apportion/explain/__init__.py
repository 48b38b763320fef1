"""Why a step stands in a chain and what it did: answered from records and interventions."""

from apportion.explain.answer import explain
from apportion.explain.evidence import Explanation, Sentence, StepEvidence
from apportion.explain.interventions import Intervention, intervene
from apportion.explain.record import Found, find_record

__all__ = [
    "Explanation",
    "Found",
    "Intervention",
    "Sentence",
    "StepEvidence",
    "explain",
    "find_record",
    "intervene",
]
