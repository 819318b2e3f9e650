"""The figure shows the answer's own numbers in the palette of the other outputs."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryores_lite import CryoresError, LocalResolution, plot
from cryores_lite.figures.matplotlib_plot import widest
from cryores_lite.figures.palette import STOPS, colour_range
from cryores_lite.types import Grid

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SHAPE = (6, 8, 10)


@pytest.fixture
def plt(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def answer(mask=None):
    mask = np.zeros(SHAPE, bool) if mask is None else mask
    values = np.where(mask, np.random.default_rng(0).uniform(3, 6, SHAPE), 0).astype(np.float32)
    return LocalResolution(
        values=values,
        mask=mask,
        uncertainty=values / 8,
        grid=Grid(SHAPE, (1.0, 1.5, 2.0)),
        global_resolution=4.0,
        working_voxel_size=1.5,
        provider="CPUExecutionProvider",
    )


def block():
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2:5, 3:8] = mask[2, 1:6, 2:9] = mask[:5, 3, 3] = True
    return mask


def test_three_slices_hold_the_answer_and_nothing_outside_it(plt):
    result = answer(block())
    figure = plot(result)
    panels = figure.axes[:3]
    for axis, (panel, place) in enumerate(zip(panels, widest(result.mask), strict=True)):
        (image,) = panel.get_images()
        drawn, inside = image.get_array(), result.mask.take(place, axis)
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn) | np.isnan(drawn.data), ~inside)
        np.testing.assert_array_equal(drawn.data[inside], result.values.take(place, axis)[inside])
        assert image.get_clim() == colour_range(result.values)
        assert panel.get_title() == f"{'zyx'[axis]} = {place * result.grid.voxel_size[axis]:.1f} Å"
    assert [panel.get_xlim()[1] for panel in panels] == [20.0, 20.0, 12.0]
    assert [panel.get_ylim()[1] for panel in panels] == [12.0, 6.0, 6.0]


def test_its_colours_are_the_palettes(plt):
    from matplotlib.colors import to_hex

    (image,) = plot(answer(block())).axes[0].get_images()
    places = np.linspace(0, 1, len(STOPS))
    shown = [[int(to_hex(image.get_cmap()(place))[i : i + 2], 16) for i in (1, 3, 5)] for place in places]
    meant = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in STOPS]
    np.testing.assert_allclose(shown, meant, atol=2)


def test_the_density_lies_behind(plt):
    result, density = answer(block()), np.random.default_rng(1).normal(size=SHAPE)
    for axis, (panel, place) in enumerate(zip(plot(result, density).axes[:3], widest(result.mask), strict=True)):
        behind, front = panel.get_images()
        np.testing.assert_array_equal(behind.get_array(), density.take(place, axis))
        assert front.get_extent() == behind.get_extent()


def test_slices_go_where_the_molecule_is_widest():
    assert widest(block()) == (2, 3, 3)
    assert widest(np.zeros(SHAPE, bool)) == (3, 4, 5)


def test_an_answer_without_a_molecule_can_be_drawn(plt, tmp_path):
    plot(answer()).savefig(tmp_path / "empty.png")


def test_a_density_of_another_shape_is_refused():
    with pytest.raises(CryoresError, match="shape"):
        plot(answer(block()), np.zeros((2, 2, 2)))


def test_the_name_stays_a_function_once_it_is_loaded():
    code = (
        "import cryores_lite; cryores_lite.plot; assert callable(cryores_lite.plot); assert callable(cryores_lite.plot)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_one_line_says_so():
    code = """
import sys; sys.modules["matplotlib"] = None
import numpy as np
from cryores_lite import CryoresError, LocalResolution, plot
from cryores_lite.types import Grid
values = np.ones((2, 2, 2), np.float32)
try:
    numbers = {"global_resolution": 1, "working_voxel_size": 1, "provider": ""}
    grid = Grid((2, 2, 2), (1, 1, 1))
    plot(LocalResolution(values=values, mask=values > 0, uncertainty=values, grid=grid, **numbers))
except CryoresError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'cryores-lite[plot]'" in told
    assert len(told.splitlines()) == 1


def test_the_answer_says_itself_in_a_line():
    assert repr(answer(block())).startswith("LocalResolution(6×8×10, median ")
    assert "nan" in repr(answer())


def test_the_notebook_runs_as_it_stands(plt, capsys):
    told = runpy.run_path(str(EXAMPLES / "notebook.py"))
    assert len(told["figure"].axes) == 4
    assert capsys.readouterr().out.startswith("LocalResolution(80×80×80, median 3.")
