"""Options as a user gives them, by name, to the model that knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from apportion.errors import UserError, nearest

_Model = TypeVar("_Model", bound=BaseModel)


def parse_options(
    model: type[_Model], what: str, options: Mapping[str, Any], *, besides: Sequence[str] = ()
) -> _Model:
    """Validate the options of ``what`` ("task words"); ``besides`` are further names that are read
    elsewhere, for the list of what there is.

    Raises:
        UserError: one line that names the first wrong option.
    """
    known = [*model.model_fields, *besides]
    for name in options:
        if name not in model.model_fields:
            raise UserError(
                f"{what}: unknown option '{name}'{nearest(name, known)}; "
                f"it takes {', '.join(known) or 'no options'}"
            )
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "missing":
            takes = ", ".join(known)
            raise UserError(f"{what}: option '{where}' is required; it takes {takes}") from None
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error":
            message += f", not {first['input']!r}"
        raise UserError(f"{what}: option {where}: {message}") from None
