# SPDX-License-Identifier: BSD-3-Clause
"""setup.py: the version, which is in the library's header and nowhere else; a source archive, which has no header, has
it in PKG-INFO. pyproject.toml has the rest."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).resolve().parent
HEADER, ARCHIVE = HERE.parents[1] / "include" / "attn" / "attn.h", HERE / "PKG-INFO"


def version():
    if HEADER.exists():
        text = HEADER.read_text(encoding="utf-8")
        return ".".join(re.search(rf"#define ATTN_VERSION_{part} (\d+)", text)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    return re.search(r"^Version: (\S+)$", ARCHIVE.read_text(encoding="utf-8"), re.MULTILINE)[1]


setup(version=version())
