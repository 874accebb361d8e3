import json

import pytest

from errors import BundleError
from models.arcgis.definition import parse_definition
from tests.models.arcgis.definitions import definition


def test_what_a_definition_says():
    found = parse_definition(
        json.dumps(definition(Classes=[{"Value": 0, "Name": "NoData", "Color": [0, 0, 0]}, {"ClassValue": 7, "ClassName": 1}])).encode(),
        "m.emd",
    )
    assert (found.model_name, found.backbone, found.image_height, found.cell_size.x, found.cell_size.wkid) == (
        "UnetClassifier",
        "resnet18",
        224,
        0.3,
        32615,
    )
    assert [(c.value, c.name, c.colour) for c in found.output_classes] == [(7, "1", (-1, -1, -1))]


def test_a_byte_order_mark_and_unknown_keys_do_no_harm():
    assert parse_definition(b"\xef\xbb\xbf" + json.dumps(definition(Surprise=1)).encode(), "m.emd").model_name == "UnetClassifier"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"ModelName": "UnetClassifier",\n "ModelFile": ".\\model.pth"}', "line 2, column 17.*ModelFile.*backslash"),
        (b'{"ModelName": "UnetClassifier"\n "ImageHeight": 5}', "line 2, column 2.*ModelName"),
        (b'{"Classes": [', "line 1, column 14.*Classes"),
        (b"", "line 1, column 1"),
        (b"[1, 2]", "no keys"),
        (b"\xff\xfe{", "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"ImageHeight": -5}', "key ImageHeight"),
        (b'{"Classes": [{"Value": "one", "Name": "x"}]}', "key Classes.0.Value"),
        (b'{"Classes": [{"Value": 1}]}', "key Classes.0.Name"),
        (b'{"ModelParameters": "resnet34"}', "key ModelParameters"),
        (b'{"MinCellSize": {"x": -1}}', "key MinCellSize.x"),
        (b'{"NormalizationStats": {"band_min_values": [0]}}', "key NormalizationStats"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(content, words):
    with pytest.raises(BundleError, match=words) as caught:
        parse_definition(content, "m.emd")
    assert "m.emd" in caught.value.fact
    assert caught.value.remedy
