"""How surfrecon is packaged: apps/ and data_tools/ are installed inside the package, so that no global name is taken.

The C++ kernels are compiled where there is a compiler; without one the installation goes on and everything is computed by torch. They
are plain shared libraries, loaded by ctypes, not Python modules: one wheel fits every Python of a platform.
"""

import platform
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FOLDERS = {"surfrecon": "surfrecon", "surfrecon.apps": "apps", "surfrecon.data_tools": "data_tools"}

DOCS = ["myst-parser", "sphinx"]
TEST = ["build", "hypothesis", "ipykernel", "lxml", "nbclient", "networkx", *DOCS]
TEST += ["pytest", "pytest-xdist", "pyyaml", "ruff", "setuptools>=77", "wheel"]

NATIVE = Path("surfrecon/ops/native")
# Of -ffast-math only what speeds up sums: the rest deletes checks for NaN and, at link time, changes the arithmetic of the whole process.
FLAGS = ["-O3", "-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fassociative-math", "-fno-signed-zeros"]
FLAGS += ["-g0", "-fvisibility=hidden"]
FLAGS += ["-fno-wrapv"]  # Python's own flags have -fwrapv, which keeps loops over int from being vectorised
VARIANTS = {"baseline": []}
if sys.platform == "linux" and platform.machine() == "x86_64":
    VARIANTS["x86-64-v3"] = ["-march=x86-64-v3"]
    VARIANTS["x86-64-v4"] = ["-march=x86-64-v4", "-mprefer-vector-width=512"]


def kernels() -> list[Extension]:
    """One shared library a variant, each of all C++ files; loader.py picks one at run time."""
    if sys.platform == "win32":  # its compiler has other flags: there everything is computed by torch
        return []
    sources, headers = (sorted(str(file) for file in NATIVE.glob(pattern)) for pattern in ("*.cpp", "*.h"))
    options = {"sources": sources, "depends": [*headers, "setup.py"], "language": "c++", "optional": True}
    return [Extension(f"surfrecon.ops.native.{name}", extra_compile_args=FLAGS + own, **options) for name, own in VARIANTS.items()]


class BuildKernels(build_ext):
    """Shared libraries in place of Python modules, with OpenMP where the compiler has it."""

    def build_extensions(self):
        if self._has_openmp():
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        super().build_extensions()

    def build_extension(self, ext):
        shared, self.build_temp = self.build_temp, str(Path(self.build_temp, ext.name))  # variants share their sources, not their objects
        try:
            super().build_extension(ext)
        finally:
            self.build_temp = shared

    def get_ext_filename(self, fullname):
        *folders, name = fullname.split(".")
        return str(Path(*folders, f"libsurfrecon-{name}{'.dylib' if sys.platform == 'darwin' else '.so'}"))

    def get_export_symbols(self, ext):
        return ext.export_symbols  # no PyInit_

    def get_libraries(self, ext):
        return ext.libraries  # nothing of Python

    def _has_openmp(self) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.cpp")
            source.write_text("#include <omp.h>\nint threads() { return omp_get_max_threads(); }\n", encoding="utf-8")
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=["-fopenmp"])
                self.compiler.link_shared_object(objects, str(Path(folder, "openmp.so")), extra_postargs=["-fopenmp"])
            except Exception:  # each compiler class raises its own; where nothing compiles, build_ext says so
                return False
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and every Python 3."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    name="surfrecon",
    version="0.1.0",
    description="From a scan to a watertight, manifold mesh in the scan's own coordinates, with or without a GPU",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The surfrecon authors",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["surface reconstruction", "point cloud", "mesh", "signed distance", "photogrammetry", "lidar"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: Multimedia :: Graphics :: 3D Modeling",
    ],
    python_requires=">=3.10",
    ext_modules=kernels(),
    cmdclass={"build_ext": BuildKernels, "bdist_wheel": PlatformWheel},
    package_dir=FOLDERS,
    packages=[name for root, folder in FOLDERS.items() for name in [root, *(f"{root}.{sub}" for sub in find_packages(folder))]],
    package_data={"": ["*.toml", "*.json", "*.html", "*.css", "*.js", "weights/*"]},
    install_requires=[
        "numpy",
        "scipy",
        "torch>=2.10",
        "trimesh",
        "embreex",
        "PyMCubes",
        "manifold3d",
        "fast-simplification",
        "laspy[lazrs]",
        "safetensors",
        "pillow",
        "rich",
        "tomli-w",
        'tomli; python_version < "3.11"',
    ],
    extras_require={
        "open3d": ["open3d"],
        "sfm": ["pycolmap"],
        "texture": ["xatlas"],
        "e57": ["pye57"],
        "test": TEST,
        "dev": [*TEST, 'triton; platform_system == "Linux"'],
    },
    entry_points={
        "console_scripts": [
            "surfrecon = surfrecon.apps.cli:main",
            "reconstruct-from-scan = surfrecon.apps.cli:reconstruct_from_scan",
            "reconstruct-from-images = surfrecon.apps.cli:reconstruct_from_images",
        ]
    },
)
