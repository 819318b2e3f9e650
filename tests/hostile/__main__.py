"""`python -m tests.hostile --out docs/RELIABILITY.md`: try all that is hostile, and write down what became of it."""

import argparse
import platform
import sys
import time
from pathlib import Path

from tests.hostile import fuzz, kills, limits
from tests.hostile.attempts import attempt_all
from tests.hostile.catalogue import CASES, UNREADABLE

MARK = "<!-- written by the command above -->"


def main():
    """Run the campaigns and write the page. Exit with 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="The page; what stands above its mark is kept.")
    parser.add_argument("--files", type=int, default=100_000, help="Mutated maps to read.")
    parser.add_argument("--kills", type=int, default=200, help="Moments to stop the command at.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    head = options.out.read_text(encoding="utf-8").split(MARK)[0].rstrip()
    start, parts, bad = time.monotonic(), [], []
    for part in (catalogue, stopped, short, fuzzed):
        text, wrong = part(options)
        parts.append(text)
        bad += wrong
        said = f"{part.__name__}: {len(wrong)} wrong, {time.monotonic() - start:.0f} s"
        sys.stderr.write("\n".join((said, *wrong, "")))
    summary = f"{platform.system()}, Python {platform.python_version()}; {len(bad)} findings."
    page = "\n\n".join((head, MARK, summary, *parts, *(f"- **WRONG** `{line}`" for line in bad)))
    options.out.write_text(page + "\n", encoding="utf-8")
    sys.exit(bool(bad))


def catalogue(options):
    """Give every input of the catalogue to the whole command."""
    rows, bad, group = [], [], None
    for tried in attempt_all(CASES):
        if tried.case.group != group:
            group = tried.case.group
            rows += [
                "",
                f"### {group[0].upper()}{group[1:]}",
                "",
                "| input | outcome | what it says |",
                "|---|---|---|",
            ]
        rows.append(f"| {_cell(tried.case.name)} | {tried.outcome} | {_cell(tried.said)} |")
        bad += [f"{group}, {tried.case.name}: {wrong}" for wrong in tried.wrong]
    more = f"One more, *{UNREADABLE.name}*, is tried by the tests where they do not run as root."
    text = f"## {len(CASES)} inputs\n\n{more}"
    return "\n".join((text, *rows)), bad


def fuzzed(options):
    """Read mutated maps."""
    tally = fuzz.campaign(options.files, options.seed)
    text = f"""## {tally.files} mutated maps (seed {tally.seed})

{_counted(tally.outcomes)}. Slowest: {tally.longest:.2f} s of the processor. Memory grew by {tally.growth / 1e3:.0f} MB.
One in {fuzz.WHOLE} went through the whole command ({_counted(tally.commands)}).
Tracebacks and other findings: {len(tally.bad)}."""
    return text, [f"file {number}: {said}" for number, said in tally.bad]


def stopped(options):
    """Stop the command at random moments."""
    tally = kills.campaign(options.kills, options.seed, options.kills // 10)
    rows = [f"| {what} | {count} |" for what, count in sorted(tally.left.items())]
    text = f"""## {tally.points} moments to stop at (seed {tally.seed})

Five files were to be written, in half of the runs over older ones. *immutable* means that the folder was locked
against every change. Empty hidden folders that were left unsigned: {tally.begun}. Findings: {len(tally.bad)}.

| stopped by, and left of the answer | runs |
|---|---:|"""
    return "\n".join((text, *rows)), tally.bad


def short(options):
    """Run where memory or disk is short, and twice at once."""
    tables, bad = ["## Short of memory or disk, and in company", "", "| where | runs | ended |", "|---|---:|---|"], []
    for where, campaign, arguments in (
        ("address space of 50 to 2000 MB", limits.memories, ()),
        ("a control group of 100 to 600 MB", limits.groups, ()),
        ("a disk of 0.2 to 1.3 MB", limits.full_disks, (20, options.seed)),
        ("two runs at once in one folder", limits.races, (10,)),
    ):
        try:
            tally = campaign(*arguments)
        except OSError as error:
            tables.append(f"| {where} | 0 | not tried: {_cell(str(error))} |")
            continue
        tables.append(f"| {where} | {tally.runs} | {_counted(tally.ended)} |")
        bad += [f"{where}: {wrong}" for wrong in tally.bad]
    return "\n".join(tables), bad


def _counted(counts):
    return ", ".join(f"{what}: {count}" for what, count in sorted(counts.items()))


def _cell(text):
    return " ".join(text.split()).replace("|", "\\|").encode("utf-8", "replace").decode()[:260]


if __name__ == "__main__":
    main()
