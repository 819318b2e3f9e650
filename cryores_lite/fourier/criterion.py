"""The criteria at which the local FSC of half maps is read. `--help` reads this module: it imports no library."""

from __future__ import annotations

from enum import Enum

FALSE_DISCOVERY_RATE = 0.01  # share of the significant places that are significant by chance


class Criterion(str, Enum):
    """The condition below which the signal of half maps is taken to end."""

    fsc_0143 = "0.143"
    fsc_05 = "0.5"
    one_bit = "1-bit"
    fdr = "fdr"

    @property
    def label(self) -> str:
        """The criterion in a label or a table."""
        return "FSC FDR 1%" if self is Criterion.fdr else f"FSC {self.value}"

    @property
    def text(self) -> str:
        """The criterion in a sentence."""
        if self is Criterion.fdr:
            return f"FSC above chance at a false-discovery rate of {100 * FALSE_DISCOVERY_RATE:g} %"
        return self.label
