"""Ranges and probabilities of everything that the simulator draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Ranges and probabilities of everything that is drawn for a simulated map.

    Values are uniform in their range, or log-uniform where the comment says so. A probability is that of one effect in
    one map.
    """

    # the molecule
    arrangement: dict[str, float] = field(
        default_factory=lambda: {
            "single": 0.75,
            "filament": 0.06,
            "lattice": 0.03,
            "bilayer": 0.04,
            "capsid": 0.03,
            "ring": 0.03,
            "several": 0.03,
            "negative stain": 0.03,
        }
    )
    coarse: float = 0.5  # averages of all arrangements but single particles
    coarse_resolution: Range = (8.0, 40.0)  # Å, of coarse averages, log-uniform
    finest_bilayer: float = 3.5  # Å; a finer one would fill its box
    stain_resolution: Range = (15.0, 30.0)  # Å, of negative stain, log-uniform
    resolution: Range = (1.0, 20.0)  # Å, median local resolution, log-uniform
    usual_resolution: Range = (2.0, 12.0)  # Å, the narrower range of most molecules, log-uniform
    usual_share: float = 0.7  # probability of the narrower range
    resolution_elements: Range = (4.0, 10.0)  # smallest size of the molecule / its resolution
    oversampling: Range = (2.1, 5.5)  # resolution / voxel size, log-uniform
    box: tuple[int, int] = (48, 96)  # voxels; larger molecules are cut to a ball
    membrane_belt: float = 0.8  # probability of a belt of disordered lipid around a membrane protein
    conformers: int = 6
    mobility_spread: Range = (0.1, 2.2)  # of the mobility over a molecule, in log units, log-uniform
    amplitude_falloff: Range = (0.1, 5.0)  # x, log-uniform; the amplitude is scaled by exp(-x) at the resolution

    # noise
    molecule_noise: float = 0.2  # noise stronger or weaker at the molecule
    molecule_noise_change: Range = (-0.2, 0.8)  # change of the noise power at the molecule, as a share of it
    drifting_noise: float = 0.2  # noise that changes slowly over the box
    radial_noise: float = 0.4  # noise that falls off with the distance from the centre
    pose_noise: float = 0.7  # noise from pose errors and finite ensembles, which follows the signal
    missing_views: float = 0.2  # noise amplified in a cone of directions

    # processing
    high_pass: float = 0.12  # long waves weakened, with dark fringes around the molecule
    high_pass_of_coarse_maps: float = 0.4  # the same, of maps beyond 10 Å, most of which are subtomogram averages
    processing: dict[str, float] = field(
        default_factory=lambda: {
            "postprocess": 0.45,
            "average": 0.16,
            "sharpened": 0.12,
            "lowpass": 0.15,
            "local filter": 0.12,
        }
    )
    fsc_weight: float = 0.8  # weighting by the FSC, of all kinds of processing except the plain average
    fsc_weight_of_averages: float = 0.4  # weighting by the FSC, of plain averages
    sharpening_of_plain_maps: float = 0.4  # of averages and low-passed maps; all others are always sharpened
    moderate_sharpening: float = 0.75  # B of 0.3 to 1.3 times Guinier's, else 1.3 to 2.5 times
    weight_until_it_vanishes: float = 0.65  # low-pass where the FSC vanishes, of post-processed maps, as in RELION
    narrow_edge: float = 0.7  # a low-pass edge of few shells, else of 2 to 25 % of its frequency
    local_filter_outwards: float = 0.5  # solvent filtered as the nearest molecule, of locally filtered maps
    masking: dict[str, float] = field(
        default_factory=lambda: {"none": 0.32, "sphere": 0.08, "soft": 0.21, "tight": 0.15, "zone": 0.16, "cut": 0.08}
    )

    # the finished map
    resampled: float = 0.25  # to another voxel size by interpolation
    padded: float = 0.08  # with zeros
    resharpened: float = 0.3  # or blurred

    # editing, which changes no truth
    editing: dict[str, float] = field(  # the label; three of five "low precision" do not show, and become "none"
        default_factory=lambda: {
            "none": 0.46,
            "locally sharpened": 0.15,
            "clipped": 0.12,
            "enhanced": 0.09,
            "low precision": 0.18,
        }
    )
    local_sharpening: dict[str, float] = field(
        default_factory=lambda: {"flat bands": 0.3, "bands": 0.2, "profile": 0.2, "whole": 0.15, "local B": 0.15}
    )
    sharpening_window: Range = (6.0, 25.0)  # Å, σ of the window of the local rms, log-uniform
    floor_of_local_sharpening: float = 0.5  # solvent is not raised to the strength of the molecule
    sharpening_floor: Range = (0.05, 0.5)  # smallest rms / that of the molecule
    low_pass_of_local_sharpening: float = 0.4  # near the global resolution
    clipping: dict[str, float] = field(
        default_factory=lambda: {"contour": 0.55, "non-negative": 0.3, "top": 0.15},
    )
    contour_volume: Range = (0.25, 1.2)  # volume above the contour level / that of the molecule
    contour_subtracted: float = 0.5
    zone_of_clipped_maps: float = 0.35  # a zone mask before a map is clipped, instead of a drawn masking
    locally_sharpened_before_enhancement: float = 0.7
    enhanced_volume: Range = (0.8, 2.0)  # volume of the soft mask / that of the molecule
    matched_histogram: float = 0.4  # with that of a noise-free map or a heavy tail, else gamma
    gamma: Range = (0.6, 2.0)  # log-uniform
    resampled_after_editing: float = 0.15  # of clipped and enhanced maps, by interpolation
    storing: dict[str, float] = field(
        default_factory=lambda: {"float16": 0.35, "int16": 0.2, "int8": 0.25, "uint8": 0.2},
    )
    low_passed_before_storing: float = 0.6  # the rounding errors of noisy maps do not show
    cut_off_when_stored: float = 0.4  # integers of a narrower range than the map
    low_precision_of_edited_maps: float = 0.1  # of clipped, enhanced and locally sharpened maps
    composite: float = 0.06  # of two regions of different noise, gain and sharpening
    composite_noise: Range = (-0.6, 0.6)  # log of the noise amplitude in the second region / in the first
    solvent_level: float = 0.12  # not 0, before masking and padding
    solvent_levels: Range = (-0.5, 1.5)  # standard deviations of the map

    # the network's input
    guess_error: Range = (0.02, 0.3)  # standard deviation of the given median resolution, in log units, log-uniform


UNEDITED = Recipe(  # single particles, not edited after refinement
    editing={"none": 1.0},
    composite=0.0,
    solvent_level=0.0,
    arrangement={"single": 1.0},
    high_pass=0.0,
    high_pass_of_coarse_maps=0.0,
)
AVERAGES = replace(  # averages of two half maps, unprocessed
    UNEDITED, processing={"average": 1.0}, masking={"none": 1.0}, resampled=0.0, padded=0.0, resharpened=0.0
)
EVEN_NOISE = replace(  # noise of equal power everywhere and in all directions, independent of the signal
    AVERAGES, molecule_noise=0.0, drifting_noise=0.0, radial_noise=0.0, pose_noise=0.0, missing_views=0.0
)


def draw_log(limits: Range, rng: np.random.Generator) -> float:
    """Draw a number whose logarithm is uniform between those of the limits."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    """Draw one of the keys, with probabilities proportional to the values."""
    return str(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
