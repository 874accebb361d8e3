"""The layouts are those of docs/model-packages.md: names and sizes of weights, to the letter."""

import pytest
import torch

from models.arcgis.networks import counts, from_arcgis, spelt_as_now, to_arcgis
from models.architecture import ArcGISArchitecture, ArcGISDetectorArchitecture, ArcGISSceneArchitecture
from models.bundle import adapt_bands, adapt_outputs
from models.freezing import freeze
from models.network import build_network

UNET = ArcGISArchitecture(model="UnetClassifier", backbone="resnet18")
DEEPLAB = ArcGISArchitecture(model="DeepLab", backbone="resnet18")
LINKNET = ArcGISArchitecture(model="MultiTaskRoadExtractor", backbone="resnet18")
HOURGLASS = ArcGISArchitecture(model="ConnectNet", roads="hourglass")
RGB = ["Red", "Green", "Blue"]


def sizes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def network_of(architecture, outputs, bands=3):
    torch.manual_seed(0)
    return build_network(architecture, bands, outputs).eval()


PSP = ArcGISArchitecture(model="PSPNetClassifier", backbone="resnet18")
SCENES = ArcGISSceneArchitecture(backbone="resnet18")
MASKS = ArcGISDetectorArchitecture(model="MaskRCNN", backbone="resnet18")
BOXES = ArcGISDetectorArchitecture(model="FasterRCNN", backbone="resnet50")
RETINA = ArcGISDetectorArchitecture(model="RetinaNet", backbone="resnet18")
SSD = ArcGISDetectorArchitecture(model="SingleShotDetector", backbone="resnet18", grids=(4, 2), side=224)

LAYOUTS = [
    (
        UNET,
        3,
        181,
        31.0,
        {
            "layers.0.0.weight": (64, 3, 7, 7),
            "layers.0.1.running_mean": (64,),
            "layers.0.7.1.bn2.weight": (512,),
            "layers.1.weight": (512,),
            "layers.3.0.0.weight": (1024, 512, 3, 3),
            "layers.3.1.0.weight": (512, 1024, 3, 3),
            "layers.4.shuf.conv.0.weight": (1024, 512, 1, 1),
            "layers.4.bn.weight": (256,),
            "layers.4.conv1.0.weight": (512, 512, 3, 3),
            "layers.5.conv2.0.weight": (384, 384, 3, 3),
            "layers.7.conv1.0.weight": (96, 192, 3, 3),
            "layers.8.conv.0.weight": (384, 96, 1, 1),
            "layers.10.layers.0.0.weight": (49, 99, 3, 3),
            "layers.10.layers.1.0.weight": (99, 49, 3, 3),
            "layers.11.0.weight": (3, 99, 1, 1),
            "layers.11.0.bias": (3,),
        },
    ),
    (
        DEEPLAB.model_copy(update={"backbone": "resnet50"}),
        3,
        370,
        42.0,
        {
            "backbone.0.weight": (64, 3, 7, 7),
            "backbone.7.2.bn3.weight": (2048,),
            "classifier.0.convs.0.0.weight": (256, 2048, 1, 1),
            "classifier.0.project.0.weight": (256, 1280, 1, 1),
            "classifier.4.weight": (3, 256, 1, 1),
            "aux_classifier.0.weight": (256, 1024, 3, 3),
            "aux_classifier.4.weight": (3, 256, 1, 1),
        },
    ),
    (
        LINKNET.model_copy(update={"backbone": "resnet34"}),
        2,
        396,
        22.0,
        {
            "encoder.0.weight": (64, 3, 7, 7),
            "decoder4.conv1.weight": (128, 512, 1, 1),
            "decoder1.norm3.weight": (64,),
            "finaldeconv1.weight": (64, 32, 3, 3),
            "finalconv2.weight": (32, 32, 3, 3),
            "finalconv3.weight": (2, 32, 2, 2),
            "o_decoder4.deconv2.weight": (128, 128, 3, 3),
            "o_finaldeconv1.weight": (64, 32, 3, 3),
            "o_finalconv3.weight": (19, 32, 2, 2),
        },
    ),
    (
        HOURGLASS,
        2,
        1295,
        29.0,
        {
            "conv1.weight": (64, 3, 7, 7),
            "bn1.weight": (64,),
            "layer3.0.downsample.0.bias": (128,),
            "hg.1.hg.0.5.2.conv2.weight": (128, 128, 3, 3),
            "score_2.0.weight": (19, 128, 1, 1),
            "_score_2.0.weight": (128, 19, 1, 1),
            "decoder1.conv1.weight": (32, 128, 1, 1),
            "decoder1.norm3.weight": (128,),
            "finaldeconv1.weight": (128, 32, 3, 3),
            "angle_decoder1.conv1.weight": (32, 128, 1, 1),
            "finalconv3.weight": (2, 32, 2, 2),
            "angle_finalconv3.weight": (19, 32, 2, 2),
        },
    ),
    (
        PSP.model_copy(update={"backbone": "resnet50"}),
        3,
        410,
        62.6,
        {
            "model.layers.0.0.weight": (64, 3, 7, 7),
            "model.layers.0.8.features.3.1.weight": (512, 2048, 1, 1),
            "model.layers.0.8.features.3.2.running_var": (512,),
            "model.layers.0.9.weight": (512, 4096, 3, 3),
            "model.layers.1.weight": (512,),
            "model.layers.3.0.0.weight": (1024, 512, 3, 3),
            "model.layers.3.0.2.weight": (1024,),
            "model.layers.4.shuf.conv.0.weight_g": (1024, 1, 1, 1),
            "model.layers.4.shuf.conv.0.weight_v": (1024, 512, 1, 1),
            "model.layers.4.bn.weight": (256,),
            "model.layers.5.conv2.2.weight": (160,),
            "model.layers.6.conv.0.bias": (640,),
            "model.layers.7.0.weight": (3, 160, 1, 1),
            "model.layers.7.1.running_mean": (3,),
        },
    ),
    (
        PSP.model_copy(update={"unet_end": False}),
        3,
        154,
        12.6,
        {
            "backbone.7.1.bn2.weight": (512,),
            "ppm.features.0.1.weight": (128, 512, 1, 1),
            "final.0.weight": (128, 1024, 3, 3),
            "final.4.weight": (3, 128, 1, 1),
            "aux_logits.weight": (3, 256, 1, 1),
        },
    ),
    (
        SCENES,
        2,
        134,
        11.7,
        {
            "0.0.weight": (64, 3, 7, 7),
            "1.2.weight": (1024,),
            "1.4.weight": (512, 1024),
            "1.6.running_mean": (512,),
            "1.8.weight": (2, 512),
            "1.8.bias": (2,),
        },
    ),
    (
        MASKS,
        3,
        146,
        43.5,
        {
            "backbone.0.weight": (64, 3, 7, 7),
            "rpn.head.conv.0.0.weight": (512, 512, 3, 3),
            "rpn.head.cls_logits.weight": (3, 512, 1, 1),
            "roi_heads.box_head.fc6.weight": (1024, 512 * 49),
            "roi_heads.box_predictor.cls_score.weight": (3, 1024),
            "roi_heads.box_predictor.bbox_pred.weight": (12, 1024),
            "roi_heads.mask_head.3.0.weight": (256, 256, 3, 3),
            "roi_heads.mask_predictor.mask_fcn_logits.weight": (3, 256, 1, 1),
        },
    ),
    (
        BOXES,
        3,
        295,
        41.3,
        {
            "backbone.body.conv1.weight": (64, 3, 7, 7),
            "backbone.fpn.inner_blocks.3.0.weight": (256, 2048, 1, 1),
            "backbone.fpn.layer_blocks.0.0.weight": (256, 256, 3, 3),
            "roi_heads.box_head.fc6.weight": (1024, 256 * 49),
            "roi_heads.box_predictor.cls_score.weight": (3, 1024),
        },
    ),
    (
        RETINA,
        3,
        196,
        19.8,
        {
            "encoder.0.weight": (64, 3, 7, 7),
            "c5top5.weight": (256, 512, 1, 1),
            "p6top7.1.weight": (256, 256, 3, 3),
            "merges.0.conv_lat.weight": (256, 256, 1, 1),
            "merges.1.conv_lat.weight": (256, 128, 1, 1),
            "smoothers.2.weight": (256, 256, 3, 3),
            "classifier.0.0.bias": (256,),
            "classifier.3.2.running_mean": (256,),
            "classifier.4.weight": (18, 256, 3, 3),
            "box_regressor.4.weight": (36, 256, 3, 3),
        },
    ),
    (
        SSD,
        3,
        149,
        13.6,
        {
            "0.0.weight": (64, 3, 7, 7),
            "1.sconvs.0.conv.weight": (256, 512, 3, 3),
            "1.sconvs.2.bn.running_var": (256,),
            "1.oconvs.1.oconv1.weight": (3, 256, 3, 3),
            "1.oconvs.1.oconv2.weight": (4, 256, 3, 3),
        },
    ),
]


@pytest.mark.parametrize(("architecture", "outputs", "tensors", "millions", "shapes"), LAYOUTS, ids=lambda v: getattr(v, "model", None))
def test_weights_have_the_names_and_sizes_that_arcgis_gives_them(architecture, outputs, tensors, millions, shapes):
    with torch.device("meta"):
        network = build_network(architecture, 3, outputs)
    state = to_arcgis(architecture, network.state_dict())
    assert len(state) == tensors
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    assert from_arcgis(architecture, state, network.state_dict()).keys() == network.state_dict().keys()
    assert counts(architecture, sizes(state)) == (3, outputs)


@pytest.mark.parametrize("architecture", [UNET, DEEPLAB, LINKNET, HOURGLASS, PSP, PSP.model_copy(update={"unet_end": False})], ids=lambda a: a.model)
def test_a_logit_for_each_output_and_pixel_whatever_the_size(architecture):
    network = network_of(architecture, 4)
    with torch.inference_mode():
        assert network(torch.randn(1, 3, 100, 70)).shape == (1, 4, 100, 70)


@pytest.mark.parametrize("architecture", [UNET, LINKNET, PSP], ids=lambda a: a.model)
def test_only_what_is_not_frozen_learns_other_classes(architecture):
    """What a frozen fine-tune does: new head, one step."""
    network = network_of(architecture, 2)
    adapt_outputs(network, ["Road"], ["Track", "ROAD", "River"])
    freeze(network.encoder)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    optimiser.step()
    changed = {name.split(".")[0] for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"decoder", "head"}
    assert network.outputs == 4


@pytest.mark.parametrize("architecture", [UNET, DEEPLAB, LINKNET, HOURGLASS, PSP], ids=lambda a: a.model)
def test_bands_are_found_by_their_names(architecture):
    network = network_of(architecture, 2)
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        adapt_bands(network, RGB, ["Blue", "Red", "Green"])
        assert torch.allclose(network(image[:, [2, 0, 1]]), before, atol=1e-5)
        adapt_bands(network, ["Blue", "Red", "Green"], ["Blue", "Red", "Green", "NIR"])
        assert network(torch.randn(1, 4, 64, 64)).shape == (1, 2, 64, 64)
    fresh = build_network(architecture, 4, 2)
    fresh.load_state_dict(network.state_dict())


def test_an_encoder_under_torchvisions_own_names_is_read():
    network = network_of(LINKNET, 2)
    numbers = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    state = {}
    for name, tensor in to_arcgis(LINKNET, network.state_dict()).items():
        parts = name.split(".")
        state[".".join([parts[0], numbers[parts[1]], *parts[2:]]) if parts[0] == "encoder" else name] = tensor
    assert "encoder.layer1.0.conv1.weight" in state
    assert counts(LINKNET, sizes(state)) == (3, 2)
    wanted = to_arcgis(LINKNET, network.state_dict())
    assert spelt_as_now(LINKNET, state, wanted).keys() == wanted.keys()


def test_scores_that_only_training_asks_for_are_passed_over():
    network = network_of(HOURGLASS, 2)
    state = to_arcgis(HOURGLASS, network.state_dict()) | {
        "decoder1_score.bias": torch.zeros(2),
        "angle_decoder1_score.bias": torch.zeros(19),
    }
    assert spelt_as_now(HOURGLASS, state, to_arcgis(HOURGLASS, network.state_dict())).keys() == to_arcgis(HOURGLASS, network.state_dict()).keys()
