"""Which versions of what are installed, without importing it."""

from __future__ import annotations

from importlib import metadata

CORE = ("numpy", "scipy", "torch", "trimesh", "embreex", "PyMCubes", "manifold3d", "fast-simplification", "laspy", "lazrs", "safetensors",
        "pillow", "rich", "tomli-w")  # fmt: skip


def version(package: str) -> str | None:
    """The installed version of a package, None where it isn't installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """surfrecon, python, and what a result depends on."""
    import platform

    return {"surfrecon": version("surfrecon"), "python": platform.python_version(), "platform": platform.platform()} | {
        name: version(name) for name in CORE
    }
