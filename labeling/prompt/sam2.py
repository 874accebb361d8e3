"""SAM 2.1 (Ravi et al. 2024, https://arxiv.org/abs/2408.00714) on single pictures, where its library `sam2` is installed.

The network is the library's. Pictures are made square, not padded, and two finer levels of features go to the decoder: all else is as with SAM.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.functional import normalize, resize

from errors import BundleError
from labeling.prompt.model import Embedding, Progress
from labeling.prompt.sam import SURE, Precision, SamModel

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of values / 255."""
SIZES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
"""(width, blocks) of the encoder -> the library's name for it."""
LARGEST_LOGIT = 32.0
PREDICTED_IOU = 0.8
"""What `SAM2AutomaticMaskGenerator` keeps by default."""


def load_sam2(state: Mapping[str, Tensor], file: str, *, key: str, device: str, precision: Precision) -> Sam2Model:
    """A model from the weights of an official checkpoint.

    Args:
        state: The weights.
        file: Name of their file, for messages.
        key: See `PromptableModel.key`.
        device: 'cpu' or 'cuda'.
        precision: Of the encoder's arithmetic.

    Raises:
        BundleError: the library is not installed.
        KeyError, RuntimeError: these are not the weights of a SAM 2.1.
    """
    try:
        from sam2.build_sam import build_sam2
    except ImportError as error:
        raise BundleError(
            f"{file} holds a SAM 2, which needs the library sam2: it is not installed here.", "Install it with: pip install sam2. Or choose another tool."
        ) from error
    width = state["image_encoder.trunk.patch_embed.proj.weight"].shape[0]
    blocks = 1 + max(int(name.split(".")[3]) for name in state if name.startswith("image_encoder.trunk.blocks."))
    network = build_sam2(f"configs/sam2.1/sam2.1_hiera_{SIZES[width, blocks]}.yaml", device="cpu", apply_postprocessing=False)
    network.load_state_dict(state)
    return Sam2Model(network.eval().requires_grad_(False).to(device), key, precision)


class Sam2Model(SamModel):
    """A SAM 2.1 behind `PromptableModel`. An embedding holds 'features', 'features_8' and 'features_4' (of strides 16, 8 and 4) and 'shape'."""

    def __init__(self, sam: Any, key: str, precision: Precision = "auto") -> None:
        self.key, self._sam, self._precision = f"sam:{key}", sam, precision
        self._converted = None
        self.keeps(predicted_iou=PREDICTED_IOU)

    @torch.inference_mode()
    def encode(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_], progress: Progress) -> dict[str, NDArray[Any]]:
        """See `PromptableModel.encode`; `progress` is called after every block of the network."""
        del valid  # SAM sees black there
        side, blocks, done = self._sam.image_size, self._sam.image_encoder.trunk.blocks, 0

        def tell(*_: Any) -> None:
            nonlocal done
            done += 1
            progress(done / (len(blocks) + 1))

        pixels = torch.as_tensor(rgb, device=self._sam.device).permute(2, 0, 1)[None] / 255
        pixels = normalize(resize(pixels, [side, side], antialias=True), list(MEAN), list(STD))
        with ExitStack() as stack:
            for block in blocks:
                stack.callback(block.register_forward_hook(tell).remove)
            stack.enter_context(torch.autocast(self._sam.device.type, self.dtype, enabled=self.dtype is not torch.float32))
            fine, middle, coarse = self._sam.forward_image(pixels)["backbone_fpn"]
        coarse = coarse + self._sam.no_mem_embed.view(1, -1, 1, 1)  # as for a picture before which there was none
        levels = {"features": coarse, "features_8": middle, "features_4": fine}
        return {name: level[0].float().cpu().numpy() for name, level in levels.items()} | {"shape": np.array(rgb.shape[:2], np.int32)}

    @property
    def _decoding(self) -> torch.dtype:
        return torch.float32

    def logits_of(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `PromptableModel.logits_of`."""
        low = self._sam.sam_prompt_encoder.mask_input_size
        share = F.interpolate(torch.as_tensor(mask, dtype=torch.float32)[None, None], low, mode="area")[0, 0]
        return np.asarray((share.numpy() * 2 - 1) * SURE, np.float32)

    def _places(self, xy: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        rows, columns = shape
        return xy * np.array([self._sam.image_size / columns, self._sam.image_size / rows])

    def _asked(self, points: tuple[Tensor, Tensor] | None, box: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """A box is its two corners among the points."""
        if box is not None:
            corners, labels = box.reshape(-1, 2, 2), torch.tensor([[2, 3]], dtype=torch.int, device=box.device)
            points = (corners, labels) if points is None else (torch.cat([corners, points[0]], 1), torch.cat([labels, points[1]], 1))
        sparse, dense = self._sam.sam_prompt_encoder(points=points, boxes=None, masks=mask)
        return sparse, dense

    def _enlarged(self, embedding: Embedding, logits: Tensor) -> Tensor:
        rows, columns = (int(n) for n in embedding["shape"])
        return F.interpolate(logits[None], (rows, columns), mode="bilinear", align_corners=False)[0]

    def _decode(self, embedding: Embedding, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        features, middle, fine = self._tensors(embedding, "features", "features_8", "features_4")
        logits, scores, *_ = self._sam.sam_mask_decoder.predict_masks(
            image_embeddings=features,
            image_pe=self._sam.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=True,
            high_res_features=[fine, middle],
        )
        return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT), scores
