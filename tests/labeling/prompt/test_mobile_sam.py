import numpy as np
import pytest
import torch

from errors import BundleError, JobCancelled
from labeling.prompt.mobile_sam import with_timm_names
from labeling.prompt.model import Point, Prompt
from labeling.prompt.sam import load_sam
from tests.labeling.prompt.mobile_layout import checkpoint
from tests.labeling.prompt.tiny_sam import scene


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("mobile") / "mobile_sam.pt"
    torch.save(checkpoint(), file)
    return file


def test_it_answers_as_mobilesam_s_own_code_does(path):
    """The numbers are what that code (ChaoningZhang/MobileSAM at 34bbbfd) gave for these weights and this picture."""
    model, shares = load_sam(path, key="k", precision="float32"), []
    embedding = model.encode(scene(), np.ones((200, 256), bool), shares.append)
    seen = [embedding["features"][place] for place in ((0, 0, 0), (10, 20, 30), (100, 40, 50), (255, 63, 63))]
    assert seen == pytest.approx([1.869, 2.0817, 0.0648, 0.6514], abs=1e-3)
    assert shares == [0.2, 0.4, 0.6, 0.8]
    found = model.predict(embedding, Prompt((Point(120.5, 80.5),)))
    assert found.scores == pytest.approx([-0.2245, -0.3206, -0.4403], abs=1e-3)
    assert [model.mask(embedding, logits).sum() for logits in found.logits] == pytest.approx([27030, 12781, 20693], abs=20)


def test_it_is_stopped_between_its_stages(path):
    def stop(share):
        raise JobCancelled("Stopped.")

    with pytest.raises(JobCancelled):
        load_sam(path, key="k", precision="float32").encode(scene(), np.ones((200, 256), bool), stop)


@pytest.mark.parametrize("lost", ["image_encoder.layers.2.blocks.0.attn.qkv.weight", "image_encoder.layers.1.blocks.0.attn.attention_biases"])
def test_a_checkpoint_that_lacks_a_part_is_refused(path, tmp_path, lost):
    torch.save({name: value for name, value in checkpoint().items() if name != lost}, tmp_path / "mobile_sam.pt")
    with pytest.raises(BundleError, match="does not hold"):
        load_sam(tmp_path / "mobile_sam.pt", key="k")


def test_the_end_of_a_stage_is_the_beginning_of_the_next():
    one = torch.zeros(1)
    names = ("layers.0.downsample.conv2.c.weight", "layers.3.blocks.1.local_conv.bn.bias", "patch_embed.seq.2.bn.weight", "head.bias")
    found = with_timm_names({"mask_decoder.x": one} | {f"image_encoder.{name}": one for name in names})
    assert [name.removeprefix("image_encoder.") for name in found] == [
        "mask_decoder.x",
        "stages.1.downsample.conv2.conv.weight",
        "stages.3.blocks.1.local_conv.bn.bias",
        "patch_embed.conv2.bn.weight",
    ]
