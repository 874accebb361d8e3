"""Segment Anything (Kirillov et al. 2023, https://arxiv.org/abs/2304.02643) from the official checkpoints, and its successors.

The network is the official one (`segment_anything.modeling`), built from what the checkpoint holds. Three things are done
otherwise, with the same result: attention over a whole chip holds a part of its 4096 x 4096 scores at a time, small enough for the processor's
cache, the decoder's two upsampling layers run as matrix products, and both may run in bfloat16 where that is quicker.
"""

from __future__ import annotations

import functools
import pickle
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import get_rel_pos
from segment_anything.utils.amg import (
    MaskData,
    batch_iterator,
    batched_mask_to_box,
    calculate_stability_score,
    mask_to_rle_pytorch,
    rle_to_mask,
)
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torchvision.ops.boxes import nms

from errors import BundleError
from labeling.prompt.mobile_sam import MARK as MOBILE_MARK
from labeling.prompt.mobile_sam import STRIDE, MobileEncoder, mobile_encoder, with_timm_names
from labeling.prompt.model import Candidates, Embedding, Point, Progress, Prompt, Thing

Precision = Literal["auto", "float32", "bfloat16"]
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
DECODER_HEADS = 8
SAM2_MARK = "model"
"""SAM 2's checkpoints keep all weights below this name."""
SCORES_AT_ONCE = 2**20
"""Of attention: 4 MB."""
QUICKER_BY = 1.2
"""bfloat16 is taken where it is at least so many times as quick."""
SURE = 12.0
"""Logit of a pixel that a given mask holds (as sure as SAM's own logits usually are)."""

PREDICTED_IOU, STABILITY, STABILITY_OFFSET, SAME_BOX = 0.88, 0.95, 1.0, 0.7
"""What `SamAutomaticMaskGenerator` keeps by default: outlines that SAM thinks good and that hardly change with the threshold, each box once."""
POINTS_AT_ONCE = {"cpu": 8, "cuda": 64}


def load_sam(path: Path, *, key: str, device: str = "cpu", precision: Precision = "auto") -> SamModel:
    """A model from a checkpoint in the official format (.pth, or the same names in .safetensors), also MobileSAM's or SAM 2.1's; which one is read off it.

    Pages of the file are read when they are used: a process that only decodes never reads the encoder.

    Args:
        path: The checkpoint. Nothing in it is executed.
        key: Its checksum, see `PromptableModel.key`.
        device: 'cpu' or 'cuda'.
        precision: Of the arithmetic; 'auto' measures what is quicker here.

    Raises:
        BundleError: it does not hold a SAM, or one whose library is not installed.
    """
    try:
        state = _state_dict(path)
        if SAM2_MARK in state:
            from labeling.prompt.sam2 import load_sam2

            return load_sam2(state[SAM2_MARK], path.name, key=key, device=device, precision=precision)
        sam = build_sam(state)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError, pickle.UnpicklingError, SafetensorError) as error:
        raise BundleError(
            f"{path.name} does not hold a Segment Anything model in the official format.",
            "Download it again (sam_vit_b_01ec64.pth, mobile_sam.pt or another one that was published), or choose another tool.",
        ) from error
    return SamModel(sam.to(device), key, precision)


def build_sam(state: dict[str, Tensor]) -> Sam:
    """The official network for these weights, whatever its size."""
    encoder: ImageEncoderViT | MobileEncoder
    if MOBILE_MARK in state:
        encoder, stride = mobile_encoder(state), STRIDE
        state = with_timm_names(state)
    else:
        encoder = _encoder_for(state)
        stride = encoder.patch_embed.proj.kernel_size[0]
    channels, side = state["image_encoder.neck.0.weight"].shape[0], encoder.img_size // stride
    mlp_dim = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
    with torch.device("meta"):
        transformer = TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=mlp_dim, num_heads=DECODER_HEADS)
        sam = Sam(
            encoder,
            PromptEncoder(channels, (side, side), (encoder.img_size, encoder.img_size), mask_in_chans=16),
            MaskDecoder(num_multimask_outputs=3, transformer=transformer, transformer_dim=channels, iou_head_depth=3, iou_head_hidden_dim=256),
            list(PIXEL_MEAN),
            list(PIXEL_STD),
        )
    sam.load_state_dict(state, assign=True)
    sam.pixel_mean, sam.pixel_std = (torch.tensor(values).view(-1, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return sam.eval().requires_grad_(False)


class SamModel:
    """A SAM behind `PromptableModel`. An embedding holds 'features' (channels, rows, columns) and 'shape' (rows, columns of the chip)."""

    offered_from = 0.0
    alike_from = 0.85

    def __init__(self, sam: Sam, key: str, precision: Precision = "auto") -> None:
        self.key, self._sam = f"sam:{key}", sam
        self.keeps()
        self._transform = ResizeLongestSide(sam.image_encoder.img_size)
        self._precision = precision
        self._converted: tuple[NDArray[Any], tuple[Tensor, ...]] | None = None

    @functools.cached_property
    def dtype(self) -> torch.dtype:
        """Of the arithmetic."""
        if self._precision == "auto":
            return torch.bfloat16 if bfloat16_is_quicker(self._sam.device) else torch.float32
        return torch.bfloat16 if self._precision == "bfloat16" else torch.float32

    @torch.inference_mode()
    def encode(self, rgb: NDArray[np.uint8], valid: NDArray[np.bool_], progress: Progress) -> dict[str, NDArray[Any]]:
        """See `PromptableModel.encode`; `progress` is called after every block of the network."""
        del valid  # SAM sees black there
        pixels = torch.as_tensor(self._transform.apply_image(rgb), device=self._sam.device).permute(2, 0, 1)[None]
        x = self._sam.preprocess(pixels).to(self.dtype)
        encoder = self._encoder
        features = encoder.look(x, progress) if isinstance(encoder, MobileEncoder) else _look(encoder, x, progress)
        return {"features": features[0].float().cpu().numpy(), "shape": np.array(rgb.shape[:2], np.int32)}

    @torch.inference_mode()
    def predict(self, embedding: Embedding, prompt: Prompt) -> Candidates:
        """See `PromptableModel.predict`.

        A single click gets SAM's three answers (whole, part, part of a part), the best first; any other prompt its one answer for clear
        prompts first, then those three.
        """
        sparse, dense = self._prompt(embedding, prompt)
        found, judged = self._decode(embedding, sparse, dense)
        logits, scores = found[0].cpu().numpy(), judged[0].cpu().numpy()
        order = 1 + np.argsort(-scores[1:], kind="stable")
        if not prompt.ambiguous:
            order = np.array([0, *order])
        return Candidates(scores[order], logits[order])

    @torch.inference_mode()
    def mask(self, embedding: Embedding, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """See `PromptableModel.mask`: enlarged bilinearly twice, as the official predictor does."""
        return np.asarray((self._enlarged(embedding, torch.as_tensor(logits)[None])[0] > 0).numpy())

    def keeps(self, *, predicted_iou: float = PREDICTED_IOU, stability: float = STABILITY, same_box: float = SAME_BOX) -> None:
        """Of everything, what SAM thinks at least so good, that is at least so stable, and of boxes that are so much the same (IoU) the best."""
        self._predicted_iou, self._stability, self._same_box = predicted_iou, stability, same_box

    @torch.inference_mode()
    def everything(self, embedding: Embedding, points: Sequence[Point], progress: Progress) -> Iterator[Thing]:
        """See `PromptableModel.everything`: what `SamAutomaticMaskGenerator` does with these points, on the embedding at hand."""
        device, shape = self._sam.device, tuple(int(n) for n in embedding["shape"])
        # SAM counts from the middle of the top-left pixel
        places = self._places(np.array([[p.x - 0.5, p.y - 0.5] for p in points]).reshape(-1, 2), shape)
        kept, done = MaskData(), 0
        for (some,) in batch_iterator(POINTS_AT_ONCE[device.type], places):
            clicks = torch.as_tensor(some, dtype=torch.float, device=device)[:, None], torch.ones(len(some), 1, dtype=torch.int, device=device)
            logits, scores = self._decode(embedding, *self._asked(clicks, None, None))
            data = MaskData(logits=logits[:, 1:].flatten(0, 1), scores=scores[:, 1:].flatten())
            data.filter(data["scores"] > self._predicted_iou)
            if len(data["scores"]):
                data["logits"] = self._enlarged(embedding, data["logits"])
                data["stability"] = calculate_stability_score(data["logits"], 0.0, STABILITY_OFFSET)
                data.filter(data["stability"] >= self._stability)
                masks = data["logits"] > 0
                kept.cat(MaskData(scores=data["scores"], stability=data["stability"], boxes=batched_mask_to_box(masks), rles=mask_to_rle_pytorch(masks)))
            done += len(some)
            progress(done / len(places))
        if not dict(kept.items()):
            return
        kept.filter(nms(kept["boxes"].float(), kept["scores"], self._same_box))
        for number, rle in enumerate(kept["rles"]):
            mask = rle_to_mask(rle)
            yield Thing(float(kept["scores"][number] * kept["stability"][number]), mask, self.describe(embedding, mask))

    def describe(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `PromptableModel.describe`: the mean of SAM's features inside, as a direction."""
        features = torch.as_tensor(embedding["features"], dtype=torch.float32)
        logits = torch.as_tensor(self.logits_of(embedding, mask))[None, None]
        share = F.interpolate(logits / SURE / 2 + 0.5, features.shape[-2:], mode="area")[0, 0]
        return np.asarray(F.normalize((features * share).sum(dim=(1, 2)), dim=0).numpy())

    def likeness(self, things: NDArray[np.float32], scores: NDArray[np.float32], examples: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `PromptableModel.likeness`: the cosine to the nearest example."""
        del scores  # all are good
        return np.asarray((things.astype(np.float32) @ examples.T.astype(np.float32)).max(axis=1))

    def logits_of(self, embedding: Embedding, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `PromptableModel.logits_of`."""
        rows, columns = mask.shape
        rows_in, columns_in = self._transform.get_preprocess_shape(rows, columns, self._transform.target_length)
        low = self._sam.prompt_encoder.mask_input_size
        scale = low[0] / self._transform.target_length
        share = F.interpolate(
            torch.as_tensor(mask, dtype=torch.float32)[None, None], (round(rows_in * scale), round(columns_in * scale)), mode="area"
        )[0, 0]
        out = np.full(low, -SURE, np.float32)
        out[: share.shape[0], : share.shape[1]] = (share.numpy() * 2 - 1) * SURE
        return out

    @functools.cached_property
    def _encoder(self) -> ImageEncoderViT | MobileEncoder:
        """Ready for use: attention replaced, in the precision chosen."""
        encoder = self._sam.image_encoder
        if not isinstance(encoder, MobileEncoder):
            for block in encoder.blocks:
                block.attn.forward = types.MethodType(_attention, block.attn)
        return encoder.to(self.dtype)

    @functools.cached_property
    def _decoder(self) -> MaskDecoder:
        return self._sam.mask_decoder.to(self.dtype)

    @property
    def _decoding(self) -> torch.dtype:
        """Of the decoder's arithmetic."""
        return self.dtype

    @functools.cached_property
    def _position(self) -> Tensor:
        return self._sam.prompt_encoder.get_dense_pe().to(self.dtype)

    @functools.cached_property
    def _enlargers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weights and biases of the two transposed convolutions, as matrices: with stride = kernel, each is one product per pixel."""
        first, second = (self._decoder.output_upscaling[i] for i in (0, 3))
        return *_as_matrix(first), *_as_matrix(second)

    def _tensors(self, embedding: Embedding, *names: str) -> tuple[Tensor, ...]:
        """Each (1, channels, rows, columns); those of the last embedding used are kept, so that clicks in one chip convert it once."""
        known = embedding["features"]
        if self._converted is None or self._converted[0] is not known:
            found = tuple(torch.as_tensor(embedding[name], device=self._sam.device).to(self._decoding)[None] for name in names)
            self._converted = known, found
        return self._converted[1]

    def _prompt(self, embedding: Embedding, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """(sparse, dense) prompt embeddings, in float32."""
        shape = tuple(int(n) for n in embedding["shape"])
        points = box = mask = None
        if prompt.points:
            # SAM counts from the middle of the top-left pixel
            places = self._places(np.array([[p.x - 0.5, p.y - 0.5] for p in prompt.points]), shape)
            labels = torch.tensor([[int(p.wanted) for p in prompt.points]], dtype=torch.int)
            points = torch.as_tensor(places, dtype=torch.float)[None].to(self._sam.device), labels.to(self._sam.device)
        if prompt.box is not None:
            corners = self._places(np.array(prompt.box).reshape(2, 2) - 0.5, shape)
            box = torch.as_tensor(corners.reshape(1, 4), dtype=torch.float).to(self._sam.device)
        if prompt.logits is not None:
            mask = torch.as_tensor(prompt.logits, dtype=torch.float, device=self._sam.device)[None, None]
        return self._asked(points, box, mask)

    def _places(self, xy: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """(n, 2) pixels of a chip of this shape -> of the picture that the network sees."""
        return np.asarray(self._transform.apply_coords(xy, shape))

    def _asked(self, points: tuple[Tensor, Tensor] | None, box: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """(sparse, dense) embeddings of prompts in the pixels that the network sees."""
        sparse, dense = self._sam.prompt_encoder(points=points, boxes=box, masks=mask)
        return sparse, dense

    def _enlarged(self, embedding: Embedding, logits: Tensor) -> Tensor:
        """(n, rows, columns) of the chip from (n, ...) low-resolution logits."""
        rows, columns = (int(n) for n in embedding["shape"])
        rows_in, columns_in = self._transform.get_preprocess_shape(rows, columns, self._transform.target_length)
        side = self._transform.target_length
        full = F.interpolate(logits[None], (side, side), mode="bilinear", align_corners=False)[..., :rows_in, :columns_in]
        if (rows_in, columns_in) != (rows, columns):
            full = F.interpolate(full, (rows, columns), mode="bilinear", align_corners=False)
        return full[0]

    def _decode(self, embedding: Embedding, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """`MaskDecoder.predict_masks`: (prompts, 4, 4 rows, 4 columns) logits and (prompts, 4) scores."""
        (features,) = self._tensors(embedding, "features")
        decoder, dtype = self._decoder, self.dtype
        prompts, count = len(sparse), decoder.num_mask_tokens
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(prompts, -1, -1)
        hidden, image = decoder.transformer(features + dense.to(dtype), self._position, torch.cat([own, sparse.to(dtype)], dim=1))
        rows, columns = features.shape[-2:]
        first, first_bias, second, second_bias = self._enlargers
        norm, half = decoder.output_upscaling[1], first.shape[0] // 4
        x = F.linear(image, first, first_bias).view(prompts, -1, half)  # a row for each pixel of the doubled map
        x = F.gelu(F.layer_norm(x, (half,), norm.weight, norm.bias, norm.eps))
        x = F.gelu(F.linear(x, second, second_bias)).view(prompts, -1, second.shape[0] // 4)
        hyper = torch.stack([decoder.output_hypernetworks_mlps[i](hidden[:, 1 + i]) for i in range(count)], dim=1)
        # pixels come as (row, column, row in 2, column in 2, row in 2, column in 2)
        flat = (x.float() @ hyper.float().transpose(1, 2)).view(prompts, rows, columns, 2, 2, 2, 2, count)
        logits = flat.permute(0, 7, 1, 3, 5, 2, 4, 6).reshape(prompts, count, rows * 4, columns * 4)
        return logits, decoder.iou_prediction_head(hidden[:, 0]).float()


def _look(encoder: ImageEncoderViT, x: Tensor, progress: Progress) -> Tensor:
    """The official encoder, block by block."""
    x = encoder.patch_embed(x)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for number, block in enumerate(encoder.blocks, 1):
        x = block(x)
        progress(number / (len(encoder.blocks) + 1))
    features: Tensor = encoder.neck(x.permute(0, 3, 1, 2))
    return features


def bfloat16_is_quicker(device: torch.device) -> bool:
    """Run a layer of the size that SAM has in both; about a tenth of a second. Processor time is compared: other work does not disturb it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer, x = nn.Linear(768, 768).to(dtype), torch.ones(1024, 768, dtype=dtype)
        times = []
        with torch.inference_mode():
            for _ in range(4):
                began = time.process_time()
                layer(x)
                times.append(time.process_time() - began)
        seconds[dtype] = min(times)
    return seconds[torch.float32] > QUICKER_BY * seconds[torch.bfloat16]


def _attention(self: Any, x: Tensor) -> Tensor:
    """The official attention with decomposed relative positions, some scores at a time.

    The scores are q.k + h(q, row of k) + w(q, column of k): products in the network's precision, their sum and the softmax in float32.
    """
    batch, rows, columns, channels = x.shape
    count, groups = rows * columns, batch * self.num_heads
    q, k, v = self.qkv(x).reshape(batch, count, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).reshape(3, groups, count, -1)
    by_row = by_column = q.new_zeros(groups, count, 1)
    if self.use_rel_pos:
        on_grid = q.view(groups, rows, columns, -1)
        by_row = torch.einsum("ghwc,hkc->ghwk", on_grid, get_rel_pos(rows, rows, self.rel_pos_h)).reshape(groups, count, rows)
        by_column = torch.einsum("ghwc,wkc->ghwk", on_grid, get_rel_pos(columns, columns, self.rel_pos_w)).reshape(groups, count, columns)
    q, k, v, out = q * self.scale, k.mT.contiguous(), v.contiguous(), v.new_empty(v.shape)
    together = max(1, SCORES_AT_ONCE // count**2)
    part = min(count, max(1, SCORES_AT_ONCE // count))
    for group in range(0, groups, together):
        g = slice(group, group + together)
        for first in range(0, count, part):
            some = slice(first, first + part)
            scores = (q[g, some] @ k[g]).float().view(*q[g, some].shape[:2], rows, columns)
            scores += by_row[g, some, :, None]
            scores += by_column[g, some, None, :]
            out[g, some] = scores.flatten(2).softmax(-1).to(v.dtype) @ v[g]
    out = out.view(batch, self.num_heads, count, -1).transpose(1, 2).reshape(batch, rows, columns, channels)
    projected: Tensor = self.proj(out)
    return projected


def _as_matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
    """(4 * out, in) weights and (4 * out,) biases of a 2 x 2 transposed convolution with stride 2; rows: row, column, channel."""
    assert layer.bias is not None
    return layer.weight.permute(2, 3, 1, 0).reshape(-1, layer.in_channels).contiguous(), layer.bias.repeat(4)


def _encoder_for(state: dict[str, Tensor]) -> ImageEncoderViT:
    """The image encoder that these weights belong to, without values."""
    patch = state["image_encoder.patch_embed.proj.weight"]
    width, side = patch.shape[0], state["image_encoder.pos_embed"].shape[1]
    depth = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("image_encoder.blocks."))
    spans = [(state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape[0] + 1) // 2 for i in range(depth)]
    head = state["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
    with torch.device("meta"):
        return ImageEncoderViT(
            img_size=side * patch.shape[-1],
            patch_size=patch.shape[-1],
            embed_dim=width,
            depth=depth,
            num_heads=width // head,
            mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
            out_chans=state["image_encoder.neck.0.weight"].shape[0],
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=min(spans) if min(spans) < side else 0,
            global_attn_indexes=tuple(i for i, span in enumerate(spans) if span == side),
        )


def _state_dict(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        return load_file(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # an old file, not a zip archive: it cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError("no state dict")
    return state
