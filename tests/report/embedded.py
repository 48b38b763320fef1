"""What a page holds, read as its script reads it."""

import json
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any


def data_of(page: Path) -> dict[str, Any]:
    html = page.read_text(encoding="utf-8")
    first, *rest = html.split('id="data">')[1].split("</script>")[0].split("\n")
    data = json.loads(first)
    for trace, line in zip(data["traces"], rest, strict=True):
        trace |= json.loads(line)
        tokens = trace["tokens"]
        if isinstance(tokens, dict):
            cuts = accumulate(tokens["lengths"], initial=tokens["from"])
            trace["tokens"] = [edge for pair in pairwise(cuts) for edge in pair]
    return data
