"""A flow model on disk: the network as transformers saves it, and two files beside it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from apportion.errors import UserError
from apportion.policies.flow.model import FlowModel

_SETTINGS = "flow.json"
_WEIGHTS = "flow.safetensors"


def save_flow(model: FlowModel, folder: Path | str) -> None:
    """Write the network (``save_pretrained``), ``flow.json`` and ``flow.safetensors``."""
    folder = Path(folder)
    model.network.save_pretrained(folder)
    weights = {name: value.detach().contiguous() for name, value in model.own_state().items()}
    save_file(weights, folder / _WEIGHTS)
    settings = model.settings | {"steps": model.steps}
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def read_flow(folder: Path | str) -> FlowModel:
    """The model that ``save_flow`` wrote, in float32.

    Raises UserError where the folder holds none, or where its files do not fit together.
    """
    from transformers import AutoModelForCausalLM

    folder = Path(folder)
    if not (folder / _SETTINGS).is_file():
        raise UserError(
            f"policy.model: no flow model in '{folder}' (no {_SETTINGS}): train one with "
            "objective: flow"
        )
    try:
        settings = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        model = FlowModel(network, **settings)
        own = load_file(folder / _WEIGHTS)
        if set(own) != set(model.own_state()):
            raise RuntimeError("other weights than the settings ask for")
        model.load_state_dict(own, strict=False)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: {_WEIGHTS} does not fit {_SETTINGS} ({reason})") from None
    return model
