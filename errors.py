"""Every error Terratune raises on purpose.

    TerratuneError
    ├── WorkspaceError      ProjectNotFoundError, ProjectExistsError, ProjectDamagedError, DiskFullError
    ├── JobError            JobCancelled
    ├── ImageryError        UnreadableRasterError, UnplacedRasterError, UnsupportedRasterError, SourceNotAllowedError
    ├── LabelError          UnknownClassError, NoLabelsError, NoOverlapError, LabelFileError, PromptError
    ├── TileSetError        TileSetFormatError, EmptyTileSetError, SplitError
    ├── ModelError          ModelNotFoundError, BundleError, UnsupportedModelError, InputMismatchError, DownloadError
    └── TrainingError       TooFewTilesError

A message states the fact and, in `remedy`, what to do next; a page or a command prints both.
Programmers' mistakes stay `ValueError`.
"""

from __future__ import annotations


class TerratuneError(Exception):
    """Base of all expected errors.

    Args:
        fact: What happened, naming the file or value, in a non-expert's words.
        remedy: What to do next; may be empty when the fact says it.
    """

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(f"{fact} {remedy}".strip())
        self.fact = fact
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[TerratuneError], tuple[str, str]]:
        return type(self), (self.fact, self.remedy)


class WorkspaceError(TerratuneError):
    """The project folder could not be read or written."""


class ProjectNotFoundError(WorkspaceError):
    """No project has this id."""


class ProjectExistsError(WorkspaceError):
    """Another project already uses this name."""


class ProjectDamagedError(WorkspaceError):
    """A project file does not hold what it should."""


class DiskFullError(WorkspaceError):
    """There is not enough room to write a result; nothing was changed."""


class JobError(TerratuneError):
    """A background job could not be started, or failed."""


class JobCancelled(JobError):
    """The user stopped the job."""


class ImageryError(TerratuneError):
    """A raster cannot be used."""


class UnreadableRasterError(ImageryError):
    """The file is missing, truncated, or not a raster."""


class UnplacedRasterError(ImageryError):
    """The raster does not say where on Earth it lies."""


class UnsupportedRasterError(ImageryError):
    """The raster is readable but of a kind that is not handled (complex numbers, too large to declare, ...)."""


class SourceNotAllowedError(ImageryError):
    """A path or address outside what this installation may open."""


class LabelError(TerratuneError):
    """Labels are missing or unusable."""


class UnknownClassError(LabelError):
    """A label carries a class value that the schema lacks."""


class NoLabelsError(LabelError):
    """The step needs labels and there are none."""


class NoOverlapError(LabelError):
    """No label touches the imagery."""


class LabelFileError(LabelError):
    """A vector file cannot be read as labels."""


class PromptError(LabelError):
    """A click, box or area that cannot be answered."""


class TileSetError(TerratuneError):
    """A folder of training tiles is unusable."""


class TileSetFormatError(TileSetError):
    """A side file is missing or does not hold what the format asks for."""


class EmptyTileSetError(TileSetError):
    """The export would produce, or did produce, no tile."""


class SplitError(TileSetError):
    """Training and validation places cannot be kept apart."""


class ModelError(TerratuneError):
    """A model is missing or does not fit."""


class ModelNotFoundError(ModelError):
    """No bundled or stored model has this name."""


class BundleError(ModelError):
    """A model folder is incomplete or damaged."""


class UnsupportedModelError(BundleError):
    """A sound package holds a model of a kind that cannot run here, or cannot be written in a format; the fact tells what it is."""


class InputMismatchError(ModelError):
    """Imagery does not fit what the model was trained on (bands, dtype, resolution)."""


class DownloadError(ModelError):
    """Weights could not be fetched, or arrived damaged."""


class TrainingError(TerratuneError):
    """Training cannot start or cannot go on."""


class TooFewTilesError(TrainingError):
    """Training or validation would have no tile."""
