"""What an installation may do, from the environment. Read once by app.py and the commands, then passed in."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Limits and places of one installation."""

    data_folder: Path
    """Holds projects/, models/ (downloaded weights) and the secret that signs tile addresses."""
    imagery_roots: tuple[Path, ...]
    """Server folders whose rasters may be opened in place."""
    allow_private_addresses: bool
    """Open URLs that resolve to private or loopback addresses (off unless this is your own network)."""
    max_upload_bytes: int
    """Largest single upload."""
    device: str
    """'auto', 'cpu' or 'cuda'."""

    weights_mirror: str = ""
    """A folder or an http(s) address with the published files of models (SAM checkpoints, encoders), under their own names; empty: where they are published."""
    catalogues: tuple[str, ...] = ()
    """STAC catalogues of models, as folders or http(s) addresses, shown on the Models page besides our own."""
    embeddings_bytes: int = 4096 * 2**20
    """Most disk for what promptable models made of the pictures (<data folder>/embeddings)."""
    features_bytes: int = 4096 * 2**20
    """Most disk for what frozen backbones saw in tiles (<data folder>/features)."""

    scheduler_address: str = ""
    """Of a dask cluster whose workers make maps; empty: maps are made on this machine."""

    @property
    def projects_folder(self) -> Path:
        return self.data_folder / "projects"


def settings_from_environment(environment: dict[str, str] | None = None) -> Settings:
    """Read TERRATUNE_DATA, TERRATUNE_IMAGERY_ROOTS, TERRATUNE_ALLOW_PRIVATE_ADDRESSES, TERRATUNE_MAX_UPLOAD_MB, TERRATUNE_DEVICE, _WEIGHTS_MIRROR, _CATALOGUES (with commas between), _EMBEDDINGS_MB, _FEATURES_MB; and DASK_SCHEDULER_ADDRESS, as dask itself does."""
    env = os.environ if environment is None else environment
    roots = [Path(part).expanduser().resolve() for part in env.get("TERRATUNE_IMAGERY_ROOTS", "").split(os.pathsep) if part]
    return Settings(
        data_folder=Path(env.get("TERRATUNE_DATA", "terratune_data")).expanduser().resolve(),
        imagery_roots=tuple(roots),
        allow_private_addresses=env.get("TERRATUNE_ALLOW_PRIVATE_ADDRESSES", "").lower() in {"1", "true", "yes"},
        max_upload_bytes=int(env.get("TERRATUNE_MAX_UPLOAD_MB", "4096")) * 1024 * 1024,
        device=env.get("TERRATUNE_DEVICE", "auto"),
        weights_mirror=env.get("TERRATUNE_WEIGHTS_MIRROR", ""),
        catalogues=tuple(part.strip() for part in env.get("TERRATUNE_CATALOGUES", "").split(",") if part.strip()),
        embeddings_bytes=int(env.get("TERRATUNE_EMBEDDINGS_MB", "4096")) * 1024 * 1024,
        features_bytes=int(env.get("TERRATUNE_FEATURES_MB", "4096")) * 1024 * 1024,
        scheduler_address=env.get("DASK_SCHEDULER_ADDRESS", "").strip(),
    )
