"""Measure candidate networks on this machine and write docs/networks.md: `python -m benchmarks.networks`.

Times are for 20 tiles of 256 px, batches of 10, two threads: one pass of the encoder, one whole forward pass, one training epoch with
the encoder frozen, and one with everything learning.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as training sets it; read when torch loads

import torch

from models.architecture import Architecture
from models.network import SegmentationNetwork, build_network

TILES, BATCH, SIZE = 20, 10, 256
ENCODERS = {
    "resnet18d": 4,
    "resnet26d": 4,
    "mobilenetv3_large_100": 5,
    "efficientnet_b0": 5,
    "tf_efficientnetv2_b0": 5,
    "regnety_008": 5,
    "repvit_m0_9": 4,
}
CANDIDATES = [
    *(
        Architecture(encoder=encoder, encoder_levels=levels, output_stride=stride)
        for encoder, levels in ENCODERS.items()
        for stride in (4, 2)
    ),
    Architecture(encoder="resnet18", encoder_levels=5, decoder="unet"),
    Architecture(encoder="mobilenetv3_large_100", encoder_levels=5, decoder="unet"),
]


def seconds(work: Callable[[], None], repeats: int) -> float:
    """The fastest of `repeats` calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def measure(architecture: Architecture, dtype: torch.dtype, repeats: int) -> list[str]:
    """One row of the table."""
    torch.manual_seed(0)
    network = build_network(architecture, 3, 3).to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    y = torch.randint(0, 3, (BATCH, SIZE, SIZE))
    mixed = torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16)

    def encode() -> None:
        network.eval()
        with torch.no_grad(), mixed:
            for _ in range(TILES // BATCH):
                network.encode(x)

    def forward() -> None:
        network.eval()
        with torch.no_grad(), mixed:
            for _ in range(TILES // BATCH):
                network(x)

    def epoch(frozen: bool) -> None:
        train_epoch(network, x, y, mixed, frozen)

    size = sum(p.numel() for p in network.parameters()) / 1e6
    times = [seconds(work, repeats) for work in (encode, forward, lambda: epoch(True), lambda: epoch(False))]
    a = architecture
    light = f"light/{a.output_stride}" if a.decoder == "light" else a.decoder
    name = f"{a.encoder} ({a.encoder_levels})" if a.decoder == "light" else a.encoder
    return [name, light, "bf16" if dtype is torch.bfloat16 else "fp32", f"{size:.1f}", *(f"{t:.2f}" for t in times)]


def train_epoch(network: SegmentationNetwork, x: torch.Tensor, y: torch.Tensor, mixed: torch.autocast, frozen: bool) -> None:
    """Forward, loss, backward and a step for every batch."""
    network.train()
    learning = [p for name, p in network.named_parameters() if not frozen or not name.startswith("encoder.")]
    optimiser = torch.optim.AdamW(learning, lr=1e-4)
    for _ in range(TILES // BATCH):
        with mixed:
            if frozen:
                network.encoder.eval()
                with torch.no_grad():
                    features = network.encode(x)
            else:
                features = network.encode(x)
            logits = network.decode(features, (SIZE, SIZE))
        torch.nn.functional.cross_entropy(logits, y).backward()
        optimiser.step()
        network.zero_grad(set_to_none=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "docs" / "networks.md")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    head = ["encoder (levels)", "decoder/stride", "numbers", "M parameters", "encoder s", "forward s", "frozen epoch s", "full epoch s"]
    lines = [
        "# Which network",
        "",
        (__doc__ or "").split("\n\n", 1)[1].strip(),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for architecture in CANDIDATES:
        for dtype in (torch.bfloat16, torch.float32):
            row = "| " + " | ".join(measure(architecture, dtype, arguments.repeats)) + " |"
            print(row, flush=True)
            lines.append(row)
    lines += ["", REASONS]
    arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


REASONS = """The default is `Architecture()` in models/architecture.py: a plain residual network cut off at stride 16 with the light decoder, which ends at stride 2, because a
track of 3 m is six pixels wide. Making the starter from nothing takes full epochs, and there it is as quick as the mobile encoders; that plain convolutions
train more surely from nothing is judgement, not measured here. For frozen epochs mobilenetv3_large_100 would be about a third quicker (its encoder alone takes half
as long), so it is worth a starter of its own. A stock U-Net decoder at full resolution costs more than its encoder."""

if __name__ == "__main__":
    main()
