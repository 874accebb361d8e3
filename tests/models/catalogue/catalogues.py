"""Small STAC-MLM catalogues of others, for tests."""

import json
from pathlib import Path

import pystac

BANDS = ("red", "green", "blue")


def an_item(name, href="weights.pth", **own):
    """A card as others may write it: core and MLM fields; with `encoder=...` also what Terratune needs to load it."""
    facts = {"terratune:" + key: value for key, value in own.items()}
    if own.get("encoder"):
        facts |= {"terratune:loader": "timm", "terratune:data_type": "uint8"}
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/mlm/v1.4.0/schema.json"],
        "id": name,
        "geometry": None,
        "properties": {
            "datetime": None,
            "start_datetime": "2020-01-01T00:00:00Z",
            "end_datetime": "2030-01-01T00:00:00Z",
            "title": f"Their {name}",
            "license": "CC0-1.0",
            "gsd": 10,
            "mlm:name": name,
            "mlm:architecture": "U-Net",
            "mlm:tasks": ["semantic-segmentation"],
            "mlm:input": [
                {
                    "name": "image",
                    "bands": [{"name": "red"}, "green", "blue"],
                    "input": {"shape": [-1, 3, 64, 64], "dim_order": ["batch", "channel", "height", "width"], "data_type": "float32"},
                    "value_scaling": [{"type": "z-score", "mean": 100, "stddev": 50}],
                }
            ],
            "mlm:output": [
                {
                    "name": "classes",
                    "tasks": ["semantic-segmentation"],
                    "result": {"shape": [-1, 2, 64, 64], "dim_order": ["batch", "class", "height", "width"], "data_type": "float32"},
                    "classification:classes": [{"value": 1, "name": "field"}],
                }
            ],
            **facts,
        },
        "links": [],
        "assets": {"weights": {"href": href, "roles": ["mlm:model", "mlm:weights"], "mlm:artifact_type": "torch.save"}},
    }


def write_catalogue(folder: Path, items, *, top="catalog.json"):
    """A catalogue named after the folder, its items in folders of their own, as pystac writes it; without `top` just the items."""
    folder.mkdir(parents=True)
    if not top:
        for item in items:
            (folder / f"{item['id']}.json").write_text(json.dumps(item))
        return folder
    catalogue = pystac.Catalog(folder.name, "Models of others", folder.name)
    for item in items:
        catalogue.add_item(pystac.Item.from_dict(item))
    catalogue.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder
