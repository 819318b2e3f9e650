"""The picture of docs/PERFORMANCE.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

GROUPS = {
    "import, open model": ("import", "open model"),
    "read, crop, transform": ("read", "crop", "transform", "edge weight"),
    "molecule": ("molecule",),
    "powers and coupling": ("powers and coupling",),
    "network": ("network",),
    "other": ("physical estimate", "band features", "network inputs", "other"),
    "assemble, write": ("assemble", "write"),
}
ALL_STEPS = [part for parts in GROUPS.values() for part in parts]
Results = dict[tuple[int, float, int], dict[str, float]]


def plot(results: Results, out: Path) -> None:
    """Draw seconds and memory against the box, and the steps' shares for the largest number of threads."""
    max_threads = max(threads for _, _, threads in results)
    fillings = sorted({filling for _, filling, _ in results})
    boxes = sorted({edge for edge, _, _ in results})
    figure, (seconds, memory, shares) = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for (filling, threads), style in zip(
        sorted({(f, t) for _, f, t in results}), ("o-", "o--", "s-", "s--", "^-", "^--"), strict=False
    ):
        rows = [(edge, results[edge, filling, threads]) for edge in boxes if (edge, filling, threads) in results]
        label = f"{filling:.0%} filled, {threads} thread{'s' if threads > 1 else ''}"
        seconds.loglog([edge for edge, _ in rows], [r["wall"] for _, r in rows], style, label=label)
        memory.loglog([edge for edge, _ in rows], [r["memory"] for _, r in rows], style)
    edges = np.array(boxes, float)
    seconds.loglog(edges, 5 * (edges / 256) ** 3, ":", color="grey", label="5 s at 256³, ∝ volume")
    memory.loglog(edges, 400 + 3 * 4 * edges**3 / 1e6, ":", color="grey", label="400 MB + 3 × the map")
    for axes, name in ((seconds, "full command, s"), (memory, "peak memory, MB")):
        axes.set(xlabel="box, voxels", ylabel=name)
        axes.set_xticks(boxes, [str(edge) for edge in boxes])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=7, frameon=False)
    bars = [
        (f"{edge}³\n{filling:.0%}", results[edge, filling, max_threads])
        for edge in boxes
        for filling in fillings
        if (edge, filling, max_threads) in results
    ]
    bottom = np.zeros(len(bars))
    for name, parts in GROUPS.items():
        height = np.array(
            [sum(max(0, r.get(p, 0)) for p in parts) / sum(max(0, r.get(p, 0)) for p in ALL_STEPS) for _, r in bars]
        )
        shares.bar([label for label, _ in bars], height, bottom=bottom, label=name)
        bottom += height
    shares.set(ylabel=f"share of the steps' time, {max_threads} threads", ylim=(0, 1))
    shares.tick_params(axis="x", labelsize=7)
    handles, labels = shares.get_legend_handles_labels()
    shares.legend(handles[::-1], labels[::-1], fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(out, dpi=110)
    plt.close(figure)
