"""The demonstration: a scene simulated, fused, and shown as a page."""

from collections.abc import Callable
from pathlib import Path

from hifred.data.dataset import Dataset
from hifred.fitsio import sha256
from hifred.fusion import fuse
from hifred.report import report_files, require_bokeh
from hifred.simulate import scene, write_scene
from hifred.simulate.files import TRUTH, require_free

FUSED, PAGE = "fused.fits", "report.html"


def run(
    folder: Path,
    name: str = "realistic-1kev",
    *,
    progress: bool = True,
    say: Callable[[str], object] = lambda _: None,
) -> list[Path]:
    """Simulate a scene, fuse its data with the default prior, and write data, truth, result, page and pictures.

    Parameters
    ----------
    folder : path
        Where to write; made where it does not exist. Files of an earlier demonstration are replaced.
    name : str
        The scene.
    progress : bool
        Show a progress bar.
    say : function of str
        Told what is being done.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    FileError
        If the folder is a file, or cannot be written to.
    ValueError
        If the scene is unknown.
    ModuleNotFoundError
        If Bokeh is not installed.
    """
    folder = Path(folder)
    require_bokeh()
    require_free(folder, ())
    say(f"Simulating {name}")
    simulated = scene(name)
    written = write_scene(simulated, folder, overwrite=True)
    paths = [folder / f"{dataset.name}.fits" for dataset in simulated.datasets]
    data, sums = [Dataset.read(path) for path in paths], [sha256(path) for path in paths]
    say(f"Fusing {' and '.join(dataset.name for dataset in data)}")
    fused = fuse(data, progress=progress)
    for entry, path, digest in zip(fused.provenance["inputs"], paths, sums, strict=True):
        entry["file"], entry["file_sha256"] = path.name, digest
    fused.write(folder / FUSED, overwrite=True)
    title = f"{name}, simulated and fused"
    shown = report_files(folder / FUSED, folder / TRUTH, folder / PAGE, pictures=folder, title=title)
    return [*written, folder / FUSED, *shown]
