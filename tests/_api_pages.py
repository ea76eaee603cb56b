"""The names that the API pages of the documentation list."""

import re
from pathlib import Path

PAGES = Path(__file__).resolve().parents[1] / "docs" / "api"


def public_names():
    """Names of the API pages with their modules. What is not there is private."""
    for page in sorted(PAGES.glob("*.rst")):
        module = ""
        for line in page.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            elif module and (match := re.match(r"   (\w+)$", line)):
                yield module, match[1]
