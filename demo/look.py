"""How a scene is lit, coloured and recorded."""

import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from demo.canvas import Colour, Sun


@dataclass(frozen=True)
class Biome:
    """Open ground: colours as (red, green, blue) 0 to 255, densities per hectare."""

    soils: tuple[Colour, Colour, Colour]
    speckle: Colour
    speckle_share: float
    shrubs: tuple[Colour, ...]
    shrubs_per_ha: float
    weeds: tuple[Colour, Colour]
    weed_share: float
    compact: Colour


BIOMES = {
    "pale_desert": Biome(
        soils=((133, 128, 115), (116, 112, 100), (152, 147, 134)),
        speckle=(84, 84, 72),
        speckle_share=0.30,
        shrubs=((62, 66, 55), (72, 73, 60), (54, 60, 50), (82, 80, 66)),
        shrubs_per_ha=140,
        weeds=((112, 109, 88), (98, 98, 82)),
        weed_share=0.2,
        compact=(160, 154, 140),
    ),
    "scrub": Biome(
        soils=((112, 109, 98), (94, 92, 82), (136, 131, 119)),
        speckle=(66, 68, 58),
        speckle_share=0.34,
        shrubs=((56, 60, 50), (64, 68, 54), (48, 54, 45)),
        shrubs_per_ha=110,
        weeds=((96, 98, 74), (84, 86, 68)),
        weed_share=0.25,
        compact=(146, 142, 130),
    ),
    "grassland": Biome(
        soils=((80, 84, 66), (70, 76, 58), (98, 98, 78)),
        speckle=(56, 62, 48),
        speckle_share=0.30,
        shrubs=((44, 56, 42), (52, 60, 46), (38, 46, 38)),
        shrubs_per_ha=22,
        weeds=((104, 106, 52), (74, 88, 52)),
        weed_share=0.55,
        compact=(136, 129, 108),
    ),
    "dry_brown": Biome(
        soils=((94, 89, 74), (82, 80, 66), (116, 109, 92)),
        speckle=(64, 66, 52),
        speckle_share=0.35,
        shrubs=((52, 62, 46), (62, 70, 52), (46, 54, 42)),
        shrubs_per_ha=40,
        weeds=((84, 88, 62), (100, 94, 70)),
        weed_share=0.4,
        compact=(142, 136, 120),
    ),
    "sandy": Biome(
        soils=((148, 143, 131), (136, 131, 119), (160, 155, 144)),
        speckle=(104, 102, 90),
        speckle_share=0.10,
        shrubs=((66, 70, 56), (58, 62, 52)),
        shrubs_per_ha=35,
        weeds=((122, 120, 92), (108, 108, 84)),
        weed_share=0.1,
        compact=(166, 161, 149),
    ),
    "red_earth": Biome(
        soils=((132, 112, 94), (116, 100, 86), (148, 128, 108)),
        speckle=(82, 76, 62),
        speckle_share=0.22,
        shrubs=((58, 64, 48), (68, 70, 54)),
        shrubs_per_ha=50,
        weeds=((100, 98, 68), (84, 86, 60)),
        weed_share=0.25,
        compact=(160, 140, 118),
    ),
    "meadow": Biome(
        soils=((80, 88, 50), (66, 76, 42), (98, 98, 62)),
        speckle=(50, 58, 38),
        speckle_share=0.25,
        shrubs=((40, 52, 36), (50, 60, 40), (36, 44, 34)),
        shrubs_per_ha=15,
        weeds=((112, 112, 44), (70, 84, 44)),
        weed_share=0.7,
        compact=(150, 136, 114),
    ),
}

OVERGROWTH: tuple[Colour, ...] = ((52, 62, 44), (58, 64, 50), (66, 74, 58), (76, 84, 52), (84, 90, 64))
"""Weeds and low scrub that grow into one another."""


@dataclass(frozen=True)
class Patch:
    """Ground of another kind within the open ground.

    Attributes:
        share: How much of the ground it takes, 0 to 1.
        strength: How much it hides the soil, 0 to 1.
        edge: Softness of its rim, in deviations of the field that it is cut from.
    """

    colour: Colour
    share: float
    strength: float
    edge: float


ASPHALTS: tuple[Colour, ...] = (
    (56, 58, 68),
    (68, 70, 78),
    (82, 84, 88),
    (94, 95, 95),
    (104, 104, 102),
    (116, 115, 110),
    (130, 129, 124),
    (146, 144, 137),
)


@dataclass(frozen=True)
class Look:
    """Light, materials and camera of one scene.

    Attributes:
        gain: Factor per channel.
        haze: Added light, in counts.
        gamma: Exponent on 0 to 1 values.
        blur_px: Deviation of the lens blur.
        noise: Deviation of the sensor noise, in counts.
        jpeg_quality: 1 to 100; None leaves the pixels uncompressed.
        shadow: Strength of cast shadows, 0 to 1.
        texture: Factor on the contrast of fine texture.
        furrows: Contrast of fine parallel streaks in the soil, in counts.
        patches: Large overgrown or bare places, in painting order.
    """

    biome: Biome
    sun: Sun
    street: Colour
    main_road: Colour
    gain: Colour = (1.0, 1.0, 1.0)
    contrast: float = 1.0
    saturation: float = 1.0
    haze: float = 6.0
    gamma: float = 1.0
    blur_px: float = 0.6
    noise: float = 1.6
    jpeg_quality: int | None = 92
    shadow: float = 0.85
    texture: float = 1.0
    furrows: float = 0.7
    patches: tuple[Patch, ...] = ()


DEMO_LOOK = Look(
    biome=BIOMES["pale_desert"],
    sun=Sun(azimuth_deg=158, elevation_deg=55),
    street=(96, 97, 98),
    main_road=(78, 80, 85),
    contrast=1.08,
    blur_px=0.5,
)


def random_look(rng: np.random.Generator) -> Look:
    """Draw the look of a scene for training: every property varies."""
    name = str(rng.choice(list(BIOMES), p=[0.22, 0.18, 0.15, 0.14, 0.1, 0.06, 0.15]))
    street = np.array(ASPHALTS[int(rng.integers(len(ASPHALTS)))]) + rng.normal(0, 5)
    main = np.array(ASPHALTS[int(rng.integers(len(ASPHALTS) - 2))]) + rng.normal(0, 5)
    balance = 1 + rng.normal(0, 0.025, 3)
    level = rng.uniform(0.86, 1.14)
    biome = _varied(rng, BIOMES[name])
    return Look(
        biome=biome,
        sun=Sun(float(rng.uniform(95, 265)), float(rng.uniform(32, 70))),
        street=(float(street[0]), float(street[1]), float(street[2])),
        main_road=(float(main[0]), float(main[1]), float(main[2])),
        gain=(float(level * balance[0]), float(level * balance[1]), float(level * balance[2])),
        contrast=float(rng.uniform(0.9, 1.3)),
        saturation=float(rng.uniform(0.6, 1.15)),
        haze=float(rng.uniform(0, 18)),
        gamma=float(rng.uniform(0.85, 1.2)),
        blur_px=float(rng.uniform(0.3, 0.8)),
        noise=float(rng.uniform(0.4, 3.5)),
        jpeg_quality=int(rng.integers(55, 97)) if rng.random() < 0.7 else None,
        shadow=float(rng.uniform(0.6, 0.98)),
        texture=float(rng.uniform(0.65, 1.5)),
        furrows=float(rng.gamma(1.0, 1.2)),
        patches=_random_patches(rng, biome),
    )


def _random_patches(rng: np.random.Generator, biome: Biome) -> tuple[Patch, ...]:
    patches = []
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 3))):
            green = _moved(OVERGROWTH[int(rng.integers(len(OVERGROWTH)))], rng.normal(0, 7) + rng.normal(0, 2.5, 3))
            patches.append(Patch(green, float(rng.uniform(0.15, 0.85)), float(rng.uniform(0.4, 0.95)), float(rng.uniform(0.15, 1.2))))
    if rng.random() < 0.4:
        bare = _moved(biome.compact, rng.normal(4, 8) + rng.normal(0, 2, 3))
        patches.append(Patch(bare, float(rng.uniform(0.05, 0.4)), float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.15, 1.0))))
    return tuple(patches)


def develop(rgb: NDArray[np.float32], look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Turn painted colours (H, W, 3) into the recorded image.

    Returns:
        (3, H, W) uint8, red green blue.
    """
    grey = rgb.mean(axis=2, keepdims=True)
    image = grey + np.float32(look.saturation) * (rgb - grey)
    image = 110 + np.float32(look.contrast) * (image - 110)
    image *= np.array(look.gain, np.float32)
    if look.gamma != 1:
        image = 255 * np.power(np.clip(image, 0, 255) / 255, np.float32(look.gamma))
    image = image * np.float32(1 - look.haze / 255) + np.float32(look.haze) * np.array([0.9, 1.0, 1.15], np.float32)
    image = ndimage.gaussian_filter(image, (look.blur_px, look.blur_px, 0), truncate=2.5)
    common = rng.standard_normal(image.shape[:2], dtype=np.float32)[..., None]
    own = rng.standard_normal(image.shape, dtype=np.float32)
    image += np.float32(look.noise) * (0.8 * common + 0.6 * own)
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    if look.jpeg_quality is not None:
        pixels = _through_jpeg(pixels, look.jpeg_quality)
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _varied(rng: np.random.Generator, biome: Biome) -> Biome:
    shift = rng.normal(0, 7) + rng.normal(0, 2.5, 3)
    return replace(
        biome,
        soils=(_moved(biome.soils[0], shift), _moved(biome.soils[1], shift), _moved(biome.soils[2], shift)),
        compact=_moved(biome.compact, shift + rng.normal(4, 9)),
        speckle_share=float(biome.speckle_share * rng.uniform(0.4, 1.5)),
        shrubs_per_ha=float(biome.shrubs_per_ha * rng.uniform(0.3, 2.0)),
        weed_share=float(np.clip(biome.weed_share * rng.uniform(0.2, 2), 0, 0.8)),
    )


def _moved(colour: Colour, shift: NDArray[np.float64]) -> Colour:
    red, green, blue = (float(c + s) for c, s in zip(colour, shift, strict=True))
    return red, green, blue
