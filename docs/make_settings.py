"""docs/settings.md: every setting, its default and its meaning, from the dataclasses that hold them.

    python docs/make_settings.py
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import MISSING, fields
from pathlib import Path

from surfrecon.methods import METHODS, method_class
from surfrecon.settings import Choices, presets

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

A settings file is TOML. `--settings FILE.toml` reads it, and every run leaves one, `mesh.run/settings.toml`, that repeats it. What the file
leaves open comes from the preset, then from the defaults below; options of the command line win over the file. A key that no one knows is
refused, with the nearest known one in the message.

```toml
method = "gridpull"
preset = "fine"
seed = 0

[gridpull]
smoothing = 0.4
```

This page is made by `python docs/make_settings.py` from the code that reads the settings.
"""


def meanings(kind: type) -> dict[str, str]:
    """Attribute -> what its class's docstring says of it."""
    _, _, section = inspect.getdoc(kind).partition("Attributes:\n")
    found: dict[str, str] = {}
    for line in section.splitlines():
        name = re.match(r" {4}([\w, ]+): (.*)", line)
        if name:
            found |= dict.fromkeys(last := name[1].split(", "), name[2])
        elif line.strip() and found:
            found |= {key: f"{found[key]} {line.strip()}" for key in last}
    return found


def table(kind: type) -> str:
    """A row for each setting of a dataclass."""
    told = meanings(kind)
    shown = lambda value: "" if value in (None, MISSING) else f"`{json.dumps(value)}`"
    meaning = lambda name: told[name].replace("|", "\\|")  # else it would end a cell
    rows = [f"| `{item.name}` | {shown(item.default)} | {meaning(item.name)} |" for item in fields(kind)]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows])


def page() -> str:
    parts = [HEAD, "## For every method\n", table(Choices)]
    for name in METHODS:
        kind = method_class(name)
        parts += [f"\n## {name}\n", inspect.getdoc(inspect.getmodule(kind)).split("\n\n")[0] + "\n", table(kind), "\nPresets:\n"]
        for preset, values in presets(name).items():
            parts.append(f"- `{preset}`: " + (", ".join(f"`{key} = {json.dumps(value)}`" for key, value in values.items()) or "as above"))
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
