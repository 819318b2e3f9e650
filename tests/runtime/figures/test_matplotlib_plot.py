"""The matplotlib figure shows the values of the result in the palette of the other outputs."""

import runpy

import numpy as np
import pytest

from cryores_lite import CryoresError, LocalResolution, plot
from cryores_lite.figures.matplotlib_plot import widest_planes
from cryores_lite.figures.palette import COLOUR_STOPS, MIN_COLOUR_RANGE, colour_range, rgb
from cryores_lite.types import Grid
from tests.runtime.command import python
from tests.runtime.paths import EXAMPLES

SHAPE = (6, 8, 10)


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def make_result(mask=None):
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


def test_three_slices_hold_the_values_inside_the_mask_and_nothing_outside(plt):
    result = make_result(block())
    panels = plot(result).axes[:3]
    for axis, (panel, number) in enumerate(zip(panels, widest_planes(result.mask), strict=True)):
        (image,) = panel.get_images()
        drawn, inside = image.get_array(), result.mask.take(number, axis)
        np.testing.assert_array_equal(np.ma.getmaskarray(drawn) | np.isnan(drawn.data), ~inside)
        np.testing.assert_array_equal(drawn.data[inside], result.values.take(number, axis)[inside])
        assert image.get_clim() == colour_range(result.values)
        assert panel.get_title() == f"{'zyx'[axis]} = {number * result.grid.voxel_size[axis]:.1f} Å"
    assert [panel.get_xlim()[1] for panel in panels] == [20.0, 20.0, 12.0]
    assert [panel.get_ylim()[1] for panel in panels] == [12.0, 6.0, 6.0]


def test_the_colours_are_those_of_the_palette(plt):
    (image,) = plot(make_result(block())).axes[0].get_images()
    fractions = np.linspace(0, 1, len(COLOUR_STOPS))
    drawn = [[round(255 * channel) for channel in image.get_cmap()(fraction)[:3]] for fraction in fractions]
    np.testing.assert_allclose(drawn, [rgb(stop) for stop in COLOUR_STOPS], atol=2)


def test_the_density_is_drawn_behind_the_local_resolution(plt):
    result, density = make_result(block()), np.random.default_rng(1).normal(size=SHAPE)
    panels = plot(result, density).axes[:3]
    for axis, (panel, number) in enumerate(zip(panels, widest_planes(result.mask), strict=True)):
        background, foreground = panel.get_images()
        np.testing.assert_array_equal(background.get_array(), density.take(number, axis))
        assert foreground.get_extent() == background.get_extent()


def test_slices_lie_where_the_molecule_is_widest():
    assert widest_planes(block()) == (2, 3, 3)
    assert widest_planes(np.zeros(SHAPE, bool)) == (3, 4, 5)


def test_a_result_without_a_molecule_is_drawn_as_the_density_alone(plt, tmp_path):
    density = np.random.default_rng(1).normal(size=SHAPE)
    figure = plot(make_result(), density)
    *panels, colour_bar = figure.axes
    assert [panel.get_title() for panel in panels] == ["z = 3.0 Å", "y = 6.0 Å", "x = 10.0 Å"]
    for axis, panel in enumerate(panels):
        background, foreground = panel.get_images()
        np.testing.assert_array_equal(background.get_array(), density.take(SHAPE[axis] // 2, axis))
        assert np.ma.getmaskarray(np.ma.masked_invalid(foreground.get_array())).all()
    assert colour_bar.get_ylabel() == "local resolution (Å)"
    assert foreground.get_clim() == (MIN_COLOUR_RANGE, 2 * MIN_COLOUR_RANGE)
    figure.savefig(tmp_path / "empty.png")  # drawing succeeds, without a warning
    assert plt.imread(tmp_path / "empty.png").std() > 0


def test_a_density_of_another_shape_is_refused():
    with pytest.raises(CryoresError, match="shape"):
        plot(make_result(block()), np.zeros((2, 2, 2)))


def test_plot_is_a_function_of_the_package_on_every_access():
    code = (
        "import cryores_lite; cryores_lite.plot; assert callable(cryores_lite.plot); assert callable(cryores_lite.plot)"
    )
    python(code, check=True)


def test_a_missing_matplotlib_is_reported_in_one_line():
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
    output = python(code, check=True).stdout
    assert "pip install 'cryores-lite[plot]'" in output
    assert len(output.splitlines()) == 1


def test_the_repr_of_a_result_is_one_line_with_its_numbers():
    assert repr(make_result(block())).startswith("LocalResolution(6×8×10, median ")
    assert "median none" in repr(make_result())


@pytest.mark.slow
def test_the_example_notebook_runs(plt, capsys):
    variables = runpy.run_path(str(EXAMPLES / "notebook.py"))
    assert len(variables["figure"].axes) == 4
    assert capsys.readouterr().out.startswith("LocalResolution(80×80×80, median 3.")
