"""What stands on the pages of a PDF that Chromium printed: enough of the format to read it back."""

from __future__ import annotations

import re
import subprocess
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from tests.report.chromium import BINARY

_OBJECT = re.compile(rb"(\d+) 0 obj\s(.*?)endobj", re.DOTALL)
_TOKEN = re.compile(rb"<<.*?>>|<[0-9A-Fa-f]*>|/[^\s/<>\[\]]+|[\[\]]|[^\s/<>\[\]]+", re.DOTALL)
_NUMBER = re.compile(rb"[-+.\d]+")
_FONT = re.compile(rb"/(F\d+) (\d+) 0 R")


@dataclass
class Printed:
    """A page: its ``text``, a line for each piece that was drawn (what is cut off is not drawn),
    and all ``colours`` (three numbers from 0 to 1) of strokes."""

    text: str = ""
    colours: set[tuple[float, ...]] = field(default_factory=set)


def print_to_pdf(page: Path, to: Path) -> list[Printed]:
    """The pages of an HTML file as ``chromium --print-to-pdf`` prints it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        subprocess.run(
            [str(BINARY), "--headless=new", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--no-pdf-header-footer",
             "--virtual-time-budget=20000", f"--print-to-pdf={to}", page.resolve().as_uri()],
            stderr=subprocess.DEVNULL, check=True, timeout=120,
        )  # fmt: skip
    return read_pdf(to.read_bytes())


def read_pdf(data: bytes) -> list[Printed]:
    objects = {int(number): body for number, body in _OBJECT.findall(data)}
    pages = [body for body in objects.values() if re.search(rb"/Type /Page\s", body)]
    return [_read_page(body, objects) for body in pages]


def _read_page(page: bytes, objects: dict[int, bytes]) -> Printed:
    fonts = {name: _letters(objects[int(number)], objects) for name, number in _FONT.findall(page)}
    content = re.search(rb"/Contents (\d+) 0 R", page)
    assert content is not None
    found, font, operands = Printed(), {}, []
    for token in _TOKEN.findall(_stream(objects[int(content[1])])):
        if token[:1] in b"</[]" or _NUMBER.fullmatch(token):
            operands.append(token)
            continue
        if token == b"RG":
            found.colours.add(tuple(round(float(value), 2) for value in operands))
        elif token == b"Tf":
            font = fonts.get(operands[0][1:], {})
        elif token in (b"Tj", b"TJ"):
            glyphs = b"".join(o[1:-1] for o in operands if o.startswith(b"<")).decode().upper()
            codes = [glyphs[i : i + 4] for i in range(0, len(glyphs), 4)]
            found.text += "".join(font.get(code, "") for code in codes)
        elif token == b"ET":
            found.text += "\n"
        operands = []
    return found


def _stream(body: bytes) -> bytes:
    return zlib.decompress(body.split(b"stream", 1)[1].lstrip(b"\r\n"))


def _letters(font: bytes, objects: dict[int, bytes]) -> dict[str, str]:
    """Glyph to text, from the font's ToUnicode table."""
    link = re.search(rb"/ToUnicode (\d+) 0 R", font)
    table = _stream(objects[int(link[1])]).decode() if link else ""
    found: dict[str, str] = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", table, re.DOTALL):
        for glyph, text in re.findall(r"<(\w+)> <(\w+)>", block):
            found[glyph] = bytes.fromhex(text).decode("utf-16-be", "replace")
    for block in re.findall(r"beginbfrange(.*?)endbfrange", table, re.DOTALL):
        for first, last, text in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for k in range(int(last, 16) - int(first, 16) + 1):
                found[f"{int(first, 16) + k:04X}"] = chr(int(text, 16) + k)
    return found
