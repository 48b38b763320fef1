"""Apportion: train language models to reason, and give each thought the credit it earned."""

from importlib.metadata import PackageNotFoundError, version

from apportion.errors import UserError
from apportion.trace import (
    SCHEMA_VERSION,
    Consensus,
    Credit,
    Edit,
    EditSpan,
    Problem,
    Review,
    Rollout,
    Step,
    StepConsensus,
    StepCredit,
    StepVerdict,
    Usage,
)

try:
    __version__ = version("apportion")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = [
    "SCHEMA_VERSION",
    "Consensus",
    "Credit",
    "Edit",
    "EditSpan",
    "Problem",
    "Review",
    "Rollout",
    "Step",
    "StepConsensus",
    "StepCredit",
    "StepVerdict",
    "Usage",
    "UserError",
    "__version__",
]
