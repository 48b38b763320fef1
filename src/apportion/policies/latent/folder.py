"""A latent model on disk: the network as transformers saves it, and two files beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from apportion.errors import UserError
from apportion.policies.latent.model import LatentModel
from apportion.policies.latent.options import parse_cell

_SETTINGS = "latent.json"
_WEIGHTS = "cell.safetensors"


def save_latent(model: LatentModel, folder: Path | str) -> None:
    """Write the network (``save_pretrained``), ``latent.json`` and ``cell.safetensors``."""
    folder = Path(folder)
    model.network.save_pretrained(folder)
    weights = {f"cell.{name}": value for name, value in model.cell.state_dict().items()}
    if model.halting is not None:
        weights |= {f"halting.{k}": value for k, value in model.halting.state_dict().items()}
    weights["norm_target"] = model.norm_target
    save_file({k: v.detach().contiguous() for k, v in weights.items()}, folder / _WEIGHTS)
    settings = {
        "cell": model.options.model_dump(),
        "steps": model.steps,
        "window": model.window,
        "norm": model.norm,
        "halting": model.halting is not None,
    }
    (folder / _SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def is_latent(folder: Path | str) -> bool:
    return (Path(folder) / _SETTINGS).is_file()


def read_latent(folder: Path | str) -> LatentModel:
    """The model that ``save_latent`` wrote, in float32.

    Raises UserError where the folder holds none, or where its files do not fit together.
    """
    from transformers import AutoModelForCausalLM

    folder = Path(folder)
    if not is_latent(folder):
        raise UserError(
            f"policy.model: no latent model in '{folder}' (no {_SETTINGS}): train one with "
            "objective: latent, or use kind pretrained"
        )
    settings = _settings(folder / _SETTINGS)
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    cell = parse_cell(settings.pop("cell"))
    try:
        model = LatentModel(network, cell, **settings)
        weights = load_file(folder / _WEIGHTS)
        model.norm_target.copy_(weights.pop("norm_target"))
        model.cell.load_state_dict(_under("cell.", weights))
        if model.halting is not None:
            model.halting.load_state_dict(_under("halting.", weights))
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{folder}: {_WEIGHTS} does not fit {_SETTINGS} ({reason})") from None
    return model


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def _settings(file: Path) -> dict[str, Any]:
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error})") from None
    if not isinstance(settings, dict) or "cell" not in settings:
        raise UserError(f"{file}: a mapping with 'cell' is needed")
    return settings
