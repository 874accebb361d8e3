"""A small, seeded, random SAM in the official checkpoint format."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

SIDE = 256


def make_sam(seed: int = 0) -> Sam:
    torch.manual_seed(seed)
    sam = Sam(
        ImageEncoderViT(
            img_size=SIDE,
            patch_size=16,
            embed_dim=32,
            depth=3,
            num_heads=2,
            mlp_ratio=4,
            out_chans=64,
            qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=7,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(64, (SIDE // 16, SIDE // 16), (SIDE, SIDE), mask_in_chans=16),
        MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=64, mlp_dim=128, num_heads=8),
            transformer_dim=64,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
        [123.675, 116.28, 103.53],
        [58.395, 57.12, 57.375],
    ).eval()
    with torch.no_grad():
        for name, weight in sam.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:  # zero in a fresh network
                weight.normal_(0, 0.3)
    return sam


def save_checkpoint(folder: Path, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.pth"
    torch.save(make_sam(seed).state_dict(), path)
    return path


def scene(rows: int = 200, columns: int = 256, seed: int = 0) -> np.ndarray:
    """(rows, columns, 3) uint8: smooth coloured blobs."""
    generator = np.random.default_rng(seed)
    coarse = torch.from_numpy(generator.uniform(0, 255, (1, 3, 9, 9)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (rows, columns), mode="bicubic", align_corners=True)[0]
    return smooth.clamp(0, 255).permute(1, 2, 0).to(torch.uint8).numpy()


def iou(a: np.ndarray, b: np.ndarray) -> float:
    both = (a | b).sum()
    return 1.0 if both == 0 else float((a & b).sum() / both)
