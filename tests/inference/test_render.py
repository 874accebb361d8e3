import io

import numpy as np
import pytest
from PIL import Image

from inference.render import LARGEST_SIDE_PX, BeforeAfter, animated_before_after, fitting_shape, length_text, over, overlay, scale_bar_m
from tests.inference.makers import PAVED, UNPAVED


def test_values_without_a_colour_are_transparent():
    found = overlay(np.array([[0, 2, 255]], np.uint8), {2: UNPAVED.rgb}, opacity=0.5)
    assert found[0, :, 3].tolist() == [0, 128, 0] and tuple(found[0, 1, :3]) == UNPAVED.rgb
    assert over(np.full((1, 3, 3), 100, np.uint8), found)[0, 0].tolist() == [100, 100, 100]


@pytest.mark.parametrize(("pixel_m", "width", "metres", "text"), [(0.5, 900, 100, "100 m"), (0.6, 256, 20, "20 m"), (30, 900, 5000, "5 km"), (0.01, 200, 0.5, "0.5 m")])
def test_the_scale_bar_is_a_round_length_about_a_quarter_of_the_width(pixel_m, width, metres, text):
    assert scale_bar_m(pixel_m, width) == pytest.approx(metres) and length_text(metres) == text


@pytest.mark.parametrize(("shape", "fits"), [((256, 256), (768, 768)), ((4000, 2000), (900, 450)), ((20000, 10), (900, 1)), ((900, 800), (900, 800))])
def test_pictures_fit_into_a_report(shape, fits):
    assert fitting_shape(*shape) == fits and max(fits) <= LARGEST_SIDE_PX


def test_the_animation_shows_before_and_after_with_the_colours_of_the_legend():
    before, after = np.zeros((2, 300, 400), np.uint8)
    before[100:120] = PAVED.value
    after[200:220] = UNPAVED.value
    picture = np.random.default_rng(0).integers(90, 110, (300, 400, 3), np.uint8)
    made = animated_before_after(BeforeAfter("A very long name of a picture " * 5, picture, before, after, 0.5), (PAVED, UNPAVED))
    with Image.open(io.BytesIO(made)) as file:
        assert file.format == "GIF" and file.info["loop"] == 0 and file.n_frames >= 4
        frames = []
        for index in range(file.n_frames):
            file.seek(index)
            frames.append(np.asarray(file.convert("RGB")).astype(int))
    top = 58

    def blue_over_red(frame: np.ndarray, row: int) -> float:
        return float(np.mean(frame[top + row, 150:390, 2] - frame[top + row, 150:390, 0]))

    assert blue_over_red(frames[0], 110) > 40 and abs(blue_over_red(frames[0], 210)) < 15
    assert abs(blue_over_red(frames[4], 110)) < 15 and blue_over_red(frames[4], 210) < -40
    swatches = frames[0][top + 300 + 8 + 10]
    assert (np.abs(swatches - np.array(PAVED.rgb)).sum(axis=1) < 24).any() and (np.abs(swatches - np.array(UNPAVED.rgb)).sum(axis=1) < 24).any()
