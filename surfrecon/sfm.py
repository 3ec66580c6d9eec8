"""Photographs without cameras: structure from motion by COLMAP's incremental mapper, through the optional package pycolmap.

The model is kept as COLMAP writes it, so that any tool of that family, and surfrecon.io.read_views, reads it again; only whole ones are
left behind. Its frame and scale are arbitrary.
Source: Schonberger and Frahm, Structure-from-Motion Revisited, 2016.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from surfrecon.errors import InputError, MissingDependencyError, SurfreconError
from surfrecon.io import read_views
from surfrecon.io.views.folders import images_in
from surfrecon.run import Run
from surfrecon.views import Views

log = logging.getLogger("surfrecon")

FEWEST = 3  # photographs: two alone leave the scale of everything to chance
MOST_FEATURES = 8192  # of one image
MOST_BENT = 0.9  # of the distortion at which an image folds over itself in its corners: there is no such lens
LONGEST_SIDE = 1600  # pixels of the images in which features are sought: more tells little and takes long
MODEL = "sparse"  # subfolder of the finished model


def structure_from_motion(
    photographs: Path, *, folder: Path, masks: Path | None = None, longest_side: int | None = None, run: Run | None = None
) -> Views:
    """The photographs of a folder with cameras found from them alone; those that fit nowhere are left out and told.

    Args:
        photographs: a folder of images; cameras that lie there as well are ignored.
        folder: where the model is kept, in its subfolder sparse; made if need be.
        masks, longest_side: as for read_views, of the views that come back; the cameras are found without.
        run: seed, threads, progress; where it resumes, a model that is there already is used.
    Raises:
        InputError: fewer than three images, or none that fit together.
        MissingDependencyError: pycolmap isn't installed.
    """
    run = run or Run()
    if not photographs.is_dir():
        raise InputError(f"{photographs}: structure from motion needs a folder of photographs")
    files = images_in(photographs)
    photographs, names = files[0].parent, [file.name for file in files]
    if len(names) < FEWEST:
        raise InputError(f"{photographs}: structure from motion needs at least {FEWEST} photographs, there are {len(names)}")
    model = folder / MODEL
    with run.stage("cameras"):
        if not (run.resume and model.is_dir()):
            _make(photographs, names, model, run)
    views = read_views(model, photographs=photographs, masks=masks, longest_side=longest_side)
    _tell(names, views, run)
    return views


def _tell(names: list[str], views: Views, run: Run) -> None:
    """How many photographs got cameras, in the log or as a warning, and among the run's facts."""
    left_out = sorted(set(names) - set(views.names))
    run.facts["photographs"], run.facts["registered"] = len(names), len(views)
    said = f"structure from motion found the cameras of {len(views)} of {len(names)} photographs"
    if left_out:
        shown = ", ".join(left_out[:5]) + (" ..." if len(left_out) > 5 else "")
        run.warn(f"{said}; left out are {shown}: take more photographs between those, or use the others alone")
    else:
        log.info("%s", said)


def _make(photographs: Path, names: list[str], model: Path, run: Run) -> None:
    """Compute a model and put it into place at once."""
    pycolmap = _pycolmap()
    work = model.with_name(f"{model.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        found = _mapped(pycolmap, photographs, names, work, run)
        if found is None:
            raise InputError(
                f"{photographs}: structure from motion found no photographs that fit together: they need texture, and neighbours that show "
                "the same from directions 5 to 20 degrees apart"
            )
        whole = work / "whole"
        whole.mkdir()
        found.write_binary(str(whole))
        shutil.rmtree(model, ignore_errors=True)
        os.replace(whole, model)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _pycolmap() -> Any:
    try:
        import pycolmap
    except ImportError as error:
        raise MissingDependencyError(
            "photographs without cameras need pycolmap, which isn't installed: pip install surfrecon[sfm]"
        ) from error
    return pycolmap


def _mapped(pycolmap: Any, photographs: Path, names: list[str], work: Path, run: Run) -> Any:
    """COLMAP's model of most images; None where there is none."""
    pycolmap.logging.minloglevel = pycolmap.logging.Level.FATAL.value  # it logs every image; what matters is raised or told
    pycolmap.set_random_seed(run.seed)
    threads = run.threads or -1
    database = work / "database.db"
    extraction = pycolmap.FeatureExtractionOptions(num_threads=threads, use_gpu=False, max_image_size=LONGEST_SIDE)
    extraction.sift.max_num_features = MOST_FEATURES
    matching = pycolmap.FeatureMatchingOptions(num_threads=threads, use_gpu=False, skip_geometric_verification=True)
    # Where random numbers are drawn or sums grow, one thread makes the same model of the same photographs each time.
    geometry, verifying = pycolmap.TwoViewGeometryOptions(), pycolmap.GeometricVerifierOptions(num_threads=1)
    geometry.ransac.random_seed = run.seed
    mapping = pycolmap.IncrementalPipelineOptions(num_threads=1, random_seed=run.seed, min_model_size=FEWEST, extract_colors=False)
    known = {"database_path": str(database)}
    try:
        run.step("cameras", 0, 4)
        images = {"image_path": str(photographs), "image_names": names, "camera_mode": pycolmap.CameraMode.AUTO}
        pycolmap.Database.open(str(database)).close()
        pycolmap.import_images(**known, **images)  # numbers them in order, which several threads of the next line would not
        pycolmap.extract_features(**known, **images, extraction_options=extraction, device=pycolmap.Device.cpu)
        run.step("cameras", 1, 4)
        pycolmap.match_exhaustive(**known, matching_options=matching, device=pycolmap.Device.cpu)
        run.step("cameras", 2, 4)
        pycolmap.geometric_verification(**known, verifier_options=verifying, two_view_geometry_options=geometry)
        run.step("cameras", 3, 4)
        found = []
        # What few photographs tell of a lens may be wrong and keep others out: then it is taken to be without distortion.
        for mapping.ba_refine_extra_params in (True, False):
            models = pycolmap.incremental_mapping(**known, image_path=str(photographs), output_path=str(work), options=mapping)
            found += [model for model in models.values() if not any(_folds(camera) for camera in model.cameras.values())]
            if any(model.num_reg_images() == len(names) for model in found):
                break
    except (RuntimeError, ValueError) as error:
        raise SurfreconError(f"{photographs}: COLMAP failed: {' '.join(str(error).split())[:300]}") from error
    return max(found, key=lambda model: (model.num_reg_images(), model.num_points3D()), default=None)


def _folds(camera: Any) -> bool:
    """Whether a lens u (1 + k |u|^2) of COLMAP's model SIMPLE_RADIAL nearly turns back within the image: 1 + 3 k |u|^2 = 0 at a corner."""
    focal, _, _, bend = camera.params
    return -3 * bend * (camera.width**2 + camera.height**2) / (2 * focal) ** 2 > MOST_BENT
