"""Models: what can be chosen to start from (`choices`), and the cards of what others publish (`published`, one STAC item each in items/).

`python -m models.catalogue --help` searches and fetches. No torch here, except where a fetched encoder is made a bundle.
"""

from models.catalogue.choices import BUNDLES_FOLDER, CatalogueEntry, Origin, damaged_models, find_encoder, find_model, list_models
from models.catalogue.published import PublishedModel, find_published, published_models

__all__ = [
    "BUNDLES_FOLDER",
    "CatalogueEntry",
    "Origin",
    "PublishedModel",
    "damaged_models",
    "find_encoder",
    "find_model",
    "find_published",
    "list_models",
    "published_models",
]
