"""The cards that come with Terratune: valid, and true where the libraries that they speak of can be asked."""

import json
import re

import pystac
import pytest
import timm
import torch
import torchvision
from jsonschema import Draft7Validator
from pystac.extensions.mlm import MLMExtension
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
from timm.models import get_pretrained_cfg

from errors import BundleError, ModelNotFoundError
from labeling.prompt.checkpoints import CHECKPOINTS
from models.card import read_card
from models.catalogue.choices import BUNDLES_FOLDER
from models.catalogue.published import ITEMS_FOLDER, PROMPTABLE, TASKS, find_published, from_stac, published_models
from models.catalogue.runs_here import held, runs_here
from models.download import is_address
from models.network import build_network
from models.weights import load_encoder

FILES = sorted(ITEMS_FOLDER.glob("*.json"))
ENCODERS = [model for model in published_models() if model.is_encoder]
TASKS_OF_MLM = {
    "semantic-segmentation",
    "instance-segmentation",
    "object-detection",
    "scene-classification",
    "segmentation",
}


def named(models):
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


@pytest.fixture(scope="module")
def core():
    """The schema of STAC's core for items, from pystac."""
    schemas = get_local_schema_cache()
    registry = Registry().with_resources((uri, Resource.from_contents(body, DRAFT7)) for uri, body in schemas.items())
    return Draft7Validator(schemas["https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"], registry=registry)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_card_is_a_stac_item_with_the_mlm_extension(path, core):
    body = json.loads(path.read_text(encoding="utf-8"))
    assert [f"{list(e.absolute_path)}: {e.message}" for e in core.iter_errors(body)] == []
    item = pystac.Item.from_dict(body)
    assert path.stem == item.id
    facts = MLMExtension.ext(item)
    assert facts.mlm_name == item.id and facts.architecture and facts.output
    assert set(facts.tasks) <= TASKS_OF_MLM
    assert [band if isinstance(band, str) else band.name for band in facts.input[0].bands] == [
        b["name"] for b in body["properties"].get("bands", [])
    ]
    scaling = body["properties"]["mlm:input"][0].get("value_scaling")
    assert scaling is None or len(scaling) == len(facts.input[0].bands)
    assert len([a for a in item.assets.values() if "mlm:model" in a.roles and a.extra_fields["mlm:artifact_type"]]) == 1
    known = {"stac_extensions", "terratune", "mlm", "sci", "file"}
    assert {key.split(":")[0] for key in body["properties"] if ":" in key} <= known


def test_there_are_many_of_every_kind():
    models = published_models()
    assert len(models) >= 40
    assert {model.loader for model in models} == {"bundle", "timm", "torchgeo", "torchvision-backbone", "sam", "sam2", "arcgis", ""}
    assert {task for model in models for task in model.tasks} <= set(TASKS)
    assert len({model.title for model in models}) == len(models)
    assert models[0].name == "paved-roads-starter"


@named(published_models())
def test_each_card_says_where_from_and_under_which_terms(model):
    assert model.title and model.summary and model.tasks and model.architecture
    assert model.loader == "bundle" or (is_address(model.url) and is_address(model.page))
    assert model.licence or any("licence" in failure for failure in model.known_failures)
    assert all(score.source and score.on for score in model.scores)
    assert model.citation or model.loader == "arcgis"
    digits = re.search(r"[-_]([0-9a-f]{8})\.pth$", model.file)
    assert digits is None or model.sha256.startswith(digits.group(1)) or model.loader == "sam"


@named([model for model in ENCODERS if model.loader == "timm"] + [find_published("dinov3-vit-small"), find_published("dinov2-vit-small")])
def test_timm_says_the_same_of_its_encoders(model):
    name = (
        model.encoder.encoder
        if model.encoder
        else {"dinov3-vit-small": "vit_small_patch16_dinov3", "dinov2-vit-small": "vit_small_patch14_dinov2"}[model.name]
    )
    known = get_pretrained_cfg(name)
    assert model.url == (known.url or f"https://huggingface.co/{known.hf_hub_id}/resolve/main/model.safetensors")
    assert model.mean == pytest.approx([255 * m for m in known.mean], abs=1e-3)
    assert model.std == pytest.approx([255 * s for s in known.std], abs=1e-3)
    assert model.licence.casefold().replace(" ", "-") == known.license
    assert model.bands == ("red", "green", "blue") and model.dtype == "uint8"


@named([model for model in published_models() if model.name.startswith("coco-")])
def test_torchvision_says_the_same_of_its_weights(model):
    known = {
        w.url: w.meta
        for name in torchvision.models.list_models()
        if "quantized" not in name
        for w in torchvision.models.get_model_weights(name)
    }
    facts = known[model.url]
    assert model.parameters == facts["num_params"]
    assert model.megabytes == pytest.approx(facts["_file_size"] * 1.048576, abs=0.06)
    assert [(s.on, s.value) for s in model.scores] == [(on, value) for on, values in facts["_metrics"].items() for value in values.values()]


def test_the_sam_cards_are_those_that_the_wand_fetches():
    cards = {model.name: model for model in published_models() if model.loader in PROMPTABLE}
    assert {c.name: (f"{c.published_at}/{c.file}", c.file, c.bytes / 1e6, c.sha256) for c in CHECKPOINTS} == {
        name: (card.url, card.file, card.megabytes, card.sha256) for name, card in cards.items()
    }
    assert {c.name for c in CHECKPOINTS if c.library == "sam2"} == {name for name, card in cards.items() if card.loader == "sam2"}


def test_the_starter_is_as_its_own_card_says(tmp_path):
    model = find_published("paved-roads-starter")
    card = read_card(BUNDLES_FOLDER / model.name)
    assert held(model, tmp_path) == BUNDLES_FOLDER / model.name
    assert (model.summary, model.sha256, model.parameters) == (card.summary, card.weights_sha256, card.parameters)
    assert (model.bands, model.mean, model.std, model.dtype) == (card.input.band_names, card.input.mean, card.input.std, card.input.dtype)
    assert model.resolution_m == (card.input.resolution_m, card.input.resolution_m)


@named(list({model.encoder.encoder: model for model in ENCODERS if model.loader == "timm"}.values()))
def test_what_is_said_to_run_can_be_built(model):
    """Each network that a card names becomes one that reads its bands."""
    network = build_network(model.encoder, len(model.bands), 1).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, len(model.bands), 64, 64)).shape == (1, 1, 64, 64)


@named([find_published("sentinel2-all-resnet18-moco"), find_published("sentinel1-resnet50-moco"), find_published("coco-maskrcnn-resnet50")])
def test_files_of_the_published_layout_load(model):
    """torchgeo: timm's names without the classifier. torchvision: those of its own network, the encoder below the backbone."""
    torch.manual_seed(1)
    if model.loader == "torchgeo":
        published = timm.create_model(model.encoder.encoder, in_chans=len(model.bands), num_classes=0).state_dict()
        first = published["conv1.weight"]
    else:
        published = torchvision.models.detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
        first = published["backbone.body.conv1.weight"]
    network = build_network(model.encoder, len(model.bands), 1)
    load_encoder(network, published)
    assert torch.equal(network.encoder.state_dict()["conv1.weight"], first)


def test_what_runs_here_says_why():
    assert runs_here(find_published("paved-roads-starter")).yes
    assert "knows no class" in runs_here(find_published("coco-fcn-resnet50")).why
    assert runs_here(find_published("living-atlas-roads-north-america")).state == "import"
    assert "needs the library sam2" in runs_here(find_published("sam2.1-hiera-tiny")).why
    assert "Swin" in runs_here(find_published("naip-rgb-swinv2b-satlas")).why


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        ("ship-detection", "import", "network .Mask R-CNN. runs here where it stands on a plain ResNet"),
        ("palm-tree-detection", "import", "said to be Faster R-CNN"),
        ("building-footprints-africa", "import", "Its network is not stated"),
        ("tree-detection", "import", "said to be DeepForest, which would not run here"),
        ("prithvi-flood", "no", "Prithvi-100M, fine-tuned. is none of ArcGIS's"),
        ("parcel-extraction-usa", "no", "described, not run"),
    ],
)
def test_models_of_arcgis_run_where_their_network_is_known(name, state, words):
    found = runs_here(find_published(f"living-atlas-{name}"))
    assert found.state == state
    assert re.search(words, found.why)


def test_a_machine_with_too_little_memory_is_told(monkeypatch):
    monkeypatch.setattr("models.catalogue.runs_here._memory_gb", lambda: 4.0)
    assert "needs about 6 GB of memory; this machine has 4 GB" in runs_here(find_published("sam-vit-h")).why
    assert runs_here(find_published("sam-vit-b")).yes


def test_an_unknown_name_names_those_that_sound_alike():
    with pytest.raises(ModelNotFoundError, match=r"landsat-oli-sr-resnet18-moco"):
        find_published("landsat-8")


def test_an_item_that_is_no_model_is_refused():
    item = pystac.Item.from_dict(json.loads(FILES[0].read_text(encoding="utf-8")))
    del item.properties["mlm:name"]
    with pytest.raises(BundleError, match="MLM"):
        from_stac(item)
    item = pystac.Item.from_dict(json.loads(FILES[0].read_text(encoding="utf-8")))
    item.properties["terratune:scores"] = [{"metric": "IoU"}]
    with pytest.raises(BundleError, match=r"scores\.0\.value"):
        from_stac(item)
