"""What a report's page shows in a browser: page.css, and view.min.js, which is view.js and the part of three.js that it needs, in one file.

    npm install && npm run build      # in this folder, after a change to view.js: esbuild makes view.min.js of it

view.min.js opens with the licence of three.js. Nothing here is loaded from anywhere: apps/page.py writes it into the page.
"""

from __future__ import annotations

from pathlib import Path


def text(name: str) -> str:
    """The content of one file of this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
