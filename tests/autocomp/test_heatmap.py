"""The heatmap, on a hand-made sensitivity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autocomp.choice import Choice, Configuration
from autocomp.heatmap import LEAST, Grid, in_one_line, in_words, interaction_figure, sensitivity_figure, write_page, write_picture
from autocomp.sensitivity import Probe, Sensitivity

LOSSES = {
    ("<conv>", Choice(weight_bits=4)): 0.1,
    ("<conv>", Choice(weight_bits=8)): 0.001,
    ("<conv>", Choice(sparsity=0.5, pattern="filter")): 0.25,
    ("fc", Choice(weight_bits=4)): 0.02,
    ("fc", Choice(sparsity=0.25, pattern="fine")): 0.0,
    ("fc", Choice(sparsity=0.5, pattern="fine")): 0.04,
}
SINGLES = tuple(Probe(Configuration({layer: choice}), loss, 0.9) for (layer, choice), loss in LOSSES.items())
PAIR = Probe(Configuration({"<conv>": Choice(weight_bits=4), "fc": Choice(weight_bits=4)}), 0.13, 0.8)
MIXTURES = tuple(
    Probe(Configuration({"<conv>": Choice(weight_bits=bits), "fc": Choice(sparsity=s, pattern="fine", weight_bits=4)}), loss, 0.7)
    for bits, s, loss in ((8, 0.25, 0.03), (8, 0.5, 0.07), (4, 0.5, 0.3))
)
FOUND = Sensitivity(0.95, 256, 1000.0, (*SINGLES, PAIR, *MIXTURES))
COLUMNS = ["sparsity 0.5 filter", "sparsity 0.25 fine", "sparsity 0.5 fine", "weight bits 8", "weight bits 4"]


def test_the_grid_goes_from_mild_to_strong_within_each_kind() -> None:
    grid = Grid.of(FOUND)
    assert grid.layers == ("<conv>", "fc")
    assert grid.titles == COLUMNS
    nan = np.nan
    np.testing.assert_array_equal(grid.losses, [[0.25, nan, nan, 0.001, 0.1], [nan, 0.0, 0.04, nan, 0.02]])


def test_words_name_a_way_only_where_it_is_not_the_usual_one() -> None:
    assert in_words(("weight_bits", "uniform", 4)) == "weight bits 4"
    assert in_words(("weight_bits", "kmeans", 4)) == "weight bits 4 kmeans"
    assert in_words(("rank", "svd", 0.25)) == "rank 0.25 svd"


def test_colour_is_the_logarithm_of_the_loss() -> None:
    figure = sensitivity_figure(FOUND)
    (heatmap,) = figure.data
    assert list(heatmap.x) == COLUMNS
    assert list(heatmap.y) == ["&lt;conv&gt;", "fc"]
    assert heatmap.z[0][4] == pytest.approx(-1)  # 0.1 nats
    assert heatmap.z[1][1] == pytest.approx(np.log10(LEAST))  # nothing, at the end of the scale
    assert np.isnan(heatmap.z[0][1])


def test_pairs_and_mixtures_stand_at_the_sum_of_their_singles() -> None:
    pairs, mixtures, line = interaction_figure(FOUND).data
    assert list(pairs.x) == pytest.approx([0.12])
    assert list(pairs.y) == pytest.approx([0.13])
    assert list(mixtures.x) == pytest.approx([0.021, 0.061, 0.16])
    assert list(line.x) == list(line.y)


def test_the_line_says_how_well_sums_rank_mixtures() -> None:
    assert "6 single choices and 4 mixtures on 256 images" in in_one_line(FOUND)
    assert "Spearman correlation of 1.000" in in_one_line(FOUND)
    assert "Spearman" not in in_one_line(Sensitivity(0.95, 256, 1.0, SINGLES))


@pytest.mark.parametrize("sensitivity", [FOUND, Sensitivity(0.9, 8, 1.0, SINGLES[:1]), Sensitivity(0.9, 8, 1.0, (PAIR,))])
def test_page_and_picture_are_written_whatever_is_there(sensitivity: Sensitivity, tmp_path: Path) -> None:
    write_page(tmp_path / "new" / "page.html", sensitivity, title="A & B")
    write_picture(tmp_path / "new" / "picture.png", sensitivity, title="A & B")
    page = (tmp_path / "new" / "page.html").read_text()
    assert "<h1>A &amp; B</h1>" in page
    assert "plotly.js v" in page  # the library itself, so that it opens offline
    assert "<conv>" not in page
    with Image.open(tmp_path / "new" / "picture.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 600
        assert picture.height > 400
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["page.html", "picture.png"]
