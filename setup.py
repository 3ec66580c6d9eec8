"""How surfrecon is packaged: apps/ and data_tools/ are installed inside the package, so that no global name is taken."""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = {"surfrecon": "surfrecon", "surfrecon.apps": "apps", "surfrecon.data_tools": "data_tools"}

TEST = ["build", "hypothesis", "pytest", "pyyaml", "ruff", "setuptools>=77", "wheel"]

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
    package_dir=FOLDERS,
    packages=[name for root, folder in FOLDERS.items() for name in [root, *(f"{root}.{sub}" for sub in find_packages(folder))]],
    package_data={"": ["*.toml", "*.json", "*.html", "*.css", "*.js", "*.safetensors"]},
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
        "images": ["pycolmap"],
        "texture": ["xatlas"],
        "e57": ["pye57"],
        "3mf": ["networkx", "lxml"],
        "test": TEST,
        "dev": [*TEST, 'triton; platform_system == "Linux"'],
    },
    entry_points={
        "console_scripts": [
            "surfrecon = surfrecon.apps.cli:main",
            "reconstruct-from-scan = surfrecon.apps.cli:reconstruct_from_scan",
        ]
    },
)
