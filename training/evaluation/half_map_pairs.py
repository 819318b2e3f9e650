"""Score the measurements that say whether two half maps are comparable, on simulated half maps.

    python -m training.evaluation.half_map_pairs --structures ../shared/data/structures --out docs/half_maps.md

Prints four tables and writes them into the page between its markers: displacements (unshifted pairs, and pairs whose
second half map was moved by a known shift, rotation or scale), masks (both half maps multiplied by one mask), half maps
that are not independent, and time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from scipy import fft, ndimage
from skimage.registration import phase_cross_correlation
from skimage.restoration import denoise_tv_chambolle

from cryores_lite.half_maps.alignment import alignment_warnings, measure_alignment
from cryores_lite.half_maps.independence import COPY_FSC, DEPENDENT_FSC, lowest_shell_fsc
from cryores_lite.half_maps.local_fsc import checked_local_fsc
from cryores_lite.half_maps.masking import MAX_MASK_FSC, measure_masking
from cryores_lite.types import Alignment, Density, Grid, Lengths, Volume
from training.evaluation.page import insert, text_table
from training.evaluation.simulated_pairs import SimulatedPair, simulated_pairs
from training.maps.recipe import AVERAGES
from training.maps.structures import read_manifest

SEED = 71
PAIRS = 40
CHANGED_PAIRS = 8  # pairs that are also rotated, scaled and moved far
MASKED_PAIRS = 5
LIKE_PAIRS = 5
COMMON_SHARES = (0.25, 0.5, 0.75, 0.9)
SHIFT = (0.3, 0.4, 0.0)  # voxels: 0.5 in all
FAR = (13.0, -7.0, 2.0)  # voxels: 15 in all
ANGLE, SCALE = 2.0, 1.02
TIMED_EDGE = 256


def pairs(structures: Path, count: int, seed: int) -> Iterator[SimulatedPair]:
    """Unprocessed half maps of validation structures, with all kinds of noise."""
    rows = read_manifest(structures, "validation")
    return simulated_pairs([rows[n % len(rows)] for n in range(count)], AVERAGES, seed)


def shifted(values: Volume, shift: tuple[float, float, float]) -> Volume:
    """The map moved by a shift (z, y, x) in voxels, by interpolation in Fourier space."""
    out: Volume = fft.irfftn(ndimage.fourier_shift(fft.rfftn(values), shift, n=values.shape[2]), s=values.shape)
    return out.astype(np.float32)


def turned(values: Volume, angle: float, scale: float) -> Volume:
    """The map rotated about z by an angle in degrees and enlarged, about the middle of the box."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    back = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) / scale
    middle = (np.array(values.shape) - 1) / 2
    out: Volume = ndimage.affine_transform(values, back, middle - back @ middle, order=5, mode="nearest")
    return out


def masks(pair: SimulatedPair) -> dict[str, Volume]:
    """Masks of a pair by name: 1 inside, 0 outside."""
    inside = pair.truth > 0
    outwards = ndimage.distance_transform_edt(~inside) * pair.first.grid.voxel_size[0]
    middle = (np.array(inside.shape) - 1) / 2
    radius = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(np.indices(inside.shape), middle, strict=True)))
    beyond = (radius - radius[inside].max()) * pair.first.grid.voxel_size[0]

    def soft(distance: Volume, extend: float, edge: float) -> Volume:
        return (0.5 + 0.5 * np.cos(np.pi * np.clip((distance - extend) / edge, 0, 1))).astype(np.float32)

    return {
        "hard sphere, 2 Å around the molecule": (beyond <= 2).astype(np.float32),
        "soft sphere, 0 Å, edge 8 Å": soft(beyond, 0, 8),
        "soft mask, 6 Å around the molecule, edge 8 Å": soft(outwards, 6, 8),
        "soft tight mask, 3 Å, edge 6 Å": soft(outwards, 3, 6),
        "soft tight mask, 0 Å, edge 3 Å": soft(outwards, 0, 3),
    }


def said(alignment: Alignment | None) -> bool:
    """Whether the program warns of a displacement."""
    return alignment is not None and bool(alignment_warnings(alignment))


def displacement_rows(structures: Path, seed: int) -> list[tuple[str, ...]]:
    """Rows of the table of displacements."""
    unshifted, alarms, largest = [], 0, 0.0
    by_change: dict[str, list[tuple[float | None, bool]]] = {}

    def note(name: str, error: float | None, found: bool) -> None:
        by_change.setdefault(name, []).append((error, found))

    for n, pair in enumerate(pairs(structures, PAIRS, seed)):

        def measure(second: Volume, pair: SimulatedPair = pair) -> Alignment | None:
            return measure_alignment(pair.first.values, second, pair.first.grid.voxel_size)

        def off(moved: Alignment | None, shift: Lengths, pair: SimulatedPair = pair) -> float | None:
            return (
                float(np.linalg.norm(np.array(moved.shift) / pair.first.grid.voxel_size[0] - shift)) if moved else None
            )

        still = measure(pair.second.values)
        if still is None:
            print(f"pair {n}: too noisy", flush=True)
            continue
        alarms += said(still)
        largest = max(largest, still.shift_voxels, still.rotation_voxels, still.scale_voxels)
        unshifted.append(still.shift_voxels)
        z, y, x = np.array(still.shift) / pair.first.grid.voxel_size[0] + SHIFT
        moved = measure(shifted(pair.second.values, SHIFT))
        note("shift of 0.5 voxels, measured minus applied (voxels)", off(moved, SHIFT), said(moved))
        note("the same, minus what the unshifted pair shows (voxels)", off(moved, (z, y, x)), said(moved))
        if n < CHANGED_PAIRS:
            rotated, scaled = (measure(turned(pair.second.values, *change)) for change in ((ANGLE, 1.0), (0.0, SCALE)))
            note(f"rotation by {ANGLE:g}° (degrees)", abs(rotated.angle - ANGLE) if rotated else None, said(rotated))
            note(f"scale of {SCALE:g} (%)", 100 * abs(scaled.scale - SCALE) if scaled else None, said(scaled))
            far = measure(shifted(pair.second.values, FAR))
            note("shift of 15 voxels (voxels)", off(far, FAR), said(far))
            for normalization, name in (("phase", "normalised"), (None, "not normalised")):
                peak, *_ = phase_cross_correlation(
                    shifted(pair.second.values, SHIFT),
                    pair.first.values,
                    upsample_factor=50,
                    normalization=normalization,
                )
                note(
                    f"scikit-image phase_cross_correlation, {name} (voxels)", float(np.linalg.norm(peak - SHIFT)), True
                )
        print(f"pair {n}: {still}", flush=True)
    rows: list[tuple[str, ...]] = [
        (
            "unshifted, shift found (voxels)",
            str(len(unshifted)),
            *error_cells(unshifted),
            f"{alarms} of {len(unshifted)}",
        )
    ]
    for name, errors in by_change.items():
        found = "" if "scikit" in name else f"{sum(found for _, found in errors)} of {len(errors)}"
        known = [error for error, _ in errors if error is not None]
        rows.append((name, str(len(known)), *error_cells(known), found))
    print(f"largest displacement of an unshifted pair: {largest:.3f} voxels")
    return rows


def error_cells(errors: list[float]) -> tuple[str, str]:
    """Median and largest error."""
    return f"{np.median(errors):.3f}", f"{max(errors):.3f}"


def mask_rows(structures: Path, seed: int) -> list[tuple[str, ...]]:
    """Rows of the table of masks: local resolution from masked half maps against that without a mask, inside."""
    by_mask: dict[str, list[tuple[float, float, float, float]]] = {}
    for pair in pairs(structures, MASKED_PAIRS, seed):
        grid = pair.first.grid
        inside = pair.truth > 0

        def local(first: Volume, second: Volume, grid: Grid = grid) -> Volume:
            return checked_local_fsc(Density(first, grid), Density(second, grid)).values

        reference = local(pair.first.values, pair.second.values)[inside]
        resolution = float(np.median(reference))
        for name, mask in masks(pair).items():
            first, second = pair.first.values * mask, pair.second.values * mask
            values = local(first, second)[inside]
            masking = measure_masking(first, second, pair.first.grid.voxel_size, resolution)
            share = masking.mask_fsc if masking else 0.0
            by_mask.setdefault(name, []).append(
                (
                    float(np.median(values) / resolution - 1),
                    float(np.sqrt(np.mean((values / reference - 1) ** 2))),
                    share,
                    float(masking is not None),
                )
            )
            print(f"mask: {name}, {by_mask[name][-1]}", flush=True)
    rows: list[tuple[str, ...]] = []
    for name, scores in by_mask.items():
        level, rms, share, found = np.array(scores).T
        rows.append(
            (
                name,
                f"{int(found.sum())} of {len(scores)}",
                f"{level[np.abs(level).argmax()]:+.3f}",
                f"{rms.mean():.3f}",
                f"{rms.max():.3f}",
                f"{share.min():.2f} to {share.max():.2f}",
                str(int((share > MAX_MASK_FSC).sum())),
            )
        )
    return rows


def likeness_rows(structures: Path, seed: int) -> list[tuple[str, ...]]:
    """Rows of the table of half maps that are not independent."""
    changes: dict[str, Callable[[Volume, Volume, Volume], tuple[Volume, Volume]]] = {
        "independent": lambda a, b, common: (a, b),
        **{f"common noise, {share:.0%} of the power": partial(with_common, share=share) for share in COMMON_SHARES},
        "common noise inside the molecule only, 90 %": partial(with_common, share=0.9, inside_only=True),
        "each denoised by total variation": lambda a, b, common: (denoised(a), denoised(b)),
    }
    rows: list[tuple[str, ...]] = []
    found: dict[str, list[float]] = {name: [] for name in changes}
    for n, pair in enumerate(pairs(structures, LIKE_PAIRS, seed)):
        common = np.random.default_rng([seed, n, 1]).permuted((pair.first.values - pair.second.values) / np.sqrt(2))
        for name, change in changes.items():
            found[name].append(lowest_shell_fsc(*change(pair.first.values, pair.second.values, common)))
    for name, values in found.items():
        refused, warned = (sum(value > limit for value in values) for limit in (COPY_FSC, DEPENDENT_FSC))
        rows.append((name, f"{min(values):.2f} to {max(values):.2f}", str(warned), str(refused)))
    return rows


def with_common(
    first: Volume, second: Volume, common: Volume, share: float, inside_only: bool = False
) -> tuple[Volume, Volume]:
    """Half maps in which noise that both hold replaces a share of the noise's power."""
    mean, noise = (first + second) / 2, (first - second) / 2
    region = (np.abs(mean) > 3 * mean.std()) if inside_only else np.ones(mean.shape, bool)
    own, alike = np.sqrt(np.where(region, 1 - share, 1)), np.sqrt(np.where(region, share, 0))
    a, b = (mean + sign * own * noise + alike * common / np.sqrt(2) for sign in (1, -1))
    return a.astype(np.float32), b.astype(np.float32)


def denoised(values: Volume) -> Volume:
    """The map after total-variation denoising."""
    out: Volume = denoise_tv_chambolle(values / values.std(), weight=0.3, max_num_iter=30)
    return out.astype(np.float32)


def time_rows() -> list[tuple[str, ...]]:
    """Rows of the table of CPU seconds on one thread."""
    rng = np.random.default_rng(SEED)
    edge = TIMED_EDGE
    radius = np.sqrt(sum((axis - edge / 2) ** 2 for axis in np.ogrid[:edge, :edge, :edge]))
    signal = ndimage.gaussian_filter(rng.normal(size=(edge,) * 3).astype(np.float32), 2) * (radius < edge / 4)
    signal /= signal.std()
    first, second = (signal + rng.normal(size=signal.shape).astype(np.float32) for _ in range(2))
    sphere = (radius < edge / 2 - 2).astype(np.float32)
    rows: list[tuple[str, ...]] = []
    measures: dict[str, Callable[[], object]] = {
        "alignment": lambda: measure_alignment(first, second, (1.0,) * 3),
        "masking, of half maps without a mask": lambda: measure_masking(first, second, (1.0,) * 3, 4.0),
        "masking, of half maps in a sphere": lambda: measure_masking(first * sphere, second * sphere, (1.0,) * 3, 4.0),
    }
    for name, measure in measures.items():
        start = time.process_time()
        measure()
        rows.append((name, f"{time.process_time() - start:.2f}"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder of structures")
    parser.add_argument("--out", type=Path, help="Markdown page for the tables")
    parser.add_argument("--seed", type=int, default=SEED, help="of the simulated half maps")
    args = parser.parse_args()
    parts = [
        "### CPU time\n\n" + text_table((f"step, {TIMED_EDGE}³ voxels", "CPU seconds"), time_rows(), align="lr"),
        "### Masks\n\n"
        + text_table(
            (
                "mask of both half maps",
                "found",
                "largest change of the median",
                "mean rms change",
                "largest rms change",
                "FSC of the mask",
                "said to be too fine",
            ),
            mask_rows(args.structures, args.seed),
            align="lr",
        ),
        "### Half maps that are not independent\n\n"
        + text_table(
            ("half maps", "lowest FSC of a shell", "warned", "refused"),
            likeness_rows(args.structures, args.seed),
            align="lr",
        ),
        "### Displacements\n\n"
        + text_table(
            ("second half map", "pairs", "median error", "largest error", "said"),
            displacement_rows(args.structures, args.seed),
            align="lr",
        ),
    ]
    print("\n\n".join(parts))
    if args.out:
        insert(args.out, "\n\n".join(parts))


if __name__ == "__main__":
    main()
