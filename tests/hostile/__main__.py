"""`python -m tests.hostile --out docs/RELIABILITY.md`: run all hostile campaigns and write their results to a page."""

import argparse
import platform
import sys
import time
from pathlib import Path

from tests.hostile import fuzz, kills, limits
from tests.hostile.attempts import attempt_all
from tests.hostile.catalogue import CASES, UNREADABLE
from tests.hostile.lines import LINES, run_all

MARK = "<!-- written by the command above -->"
MAX_CELL = 400  # characters of a message


def main():
    """Run the campaigns and write the page; exit with 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="The page; the text above its mark is kept.")
    parser.add_argument("--files", type=int, default=100_000, help="Mutated maps to read.")
    parser.add_argument("--kills", type=int, default=200, help="Moments to stop the command at.")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    introduction = options.out.read_text(encoding="utf-8").split(MARK)[0].rstrip()
    start, sections, all_faults = time.monotonic(), [], []
    for campaign in (hostile_inputs, command_lines, stopped_runs, scarce_resources, mutated_maps):
        section, faults = campaign(options)
        sections.append(section)
        all_faults += faults
        progress = f"{campaign.__name__}: {len(faults)} faults, {time.monotonic() - start:.0f} s"
        sys.stderr.write("\n".join((progress, *faults, "")))
    summary = f"{platform.system()}, Python {platform.python_version()}; {len(all_faults)} faults."
    page = "\n\n".join((introduction, MARK, summary, *sections, *(f"- **FAULT** `{line}`" for line in all_faults)))
    options.out.write_text(page + "\n", encoding="utf-8")
    sys.exit(bool(all_faults))


def hostile_inputs(options):
    """Run the complete command on every input of the catalogue."""
    rows, faults, group = [], [], None
    for attempt in attempt_all(CASES):
        case = attempt.case
        if case.group != group:
            group = case.group
            rows += [
                "",
                f"### {group[0].upper()}{group[1:]}",
                "",
                "| input | outcome | message |",
                "|---|---|---|",
            ]
        rows.append(f"| {_cell(case.name)} | {attempt.outcome} | {_cell(attempt.message)} |")
        faults += [f"{group}, {case.name}: {fault}" for fault in attempt.faults]
    note = f"The tests also try *{UNREADABLE.name}*, unless they run as root."
    heading = f"## {len(CASES)} inputs\n\n{note}"
    return "\n".join((heading, *rows)), faults


def command_lines(options):
    """Run command lines with lists, tables, models and half maps as other programs write them."""
    rows, faults, group = [], [], None
    for ran in run_all(LINES):
        line = ran.line
        if line.group != group:
            group = line.group
            rows += ["", f"### {group[0].upper()}{group[1:]}", "", "| input | outcome | message |", "|---|---|---|"]
        rows.append(f"| {_cell(line.name)} | {ran.outcome} | {_cell(ran.message)} |")
        faults += [f"{group}, {line.name}: {fault}" for fault in ran.faults]
    heading = f"## {len(LINES)} command lines\n\nThe results of all lines of a group that are done are equal."
    return "\n".join((heading, *rows)), faults


def mutated_maps(options):
    """Read mutated maps."""
    tally = fuzz.campaign(options.files, options.seed)
    text = f"""## {tally.files} mutated maps (seed {tally.seed})

{_counts(tally.outcomes)}.
The slowest took {tally.max_cpu_seconds:.2f} s of CPU time.
The memory of the process grew by {tally.memory_growth / 1e3:.0f} MB.
One in {fuzz.COMMAND_INTERVAL} was given to the complete command ({_counts(tally.commands)}).
Tracebacks and other faults: {len(tally.faults)}."""
    return text, [f"file {number}: {fault}" for number, fault in tally.faults]


def stopped_runs(options):
    """Stop the command at random moments."""
    tally = kills.campaign(options.kills, options.seed, options.kills // 10)
    rows = [f"| {outcome} | {count} |" for outcome, count in sorted(tally.outcomes.items())]
    text = f"""## Stopped at {tally.moments} moments (seed {tally.seed})

Each run writes five files; half of the runs replace older files.
*immutable* means that the folder was protected from all changes.
Runs that were stopped before they locked their hidden folder, and left it empty: {tally.unlocked}.
Faults: {len(tally.faults)}.

| stopped by: output files that exist | runs |
|---|---:|"""
    return "\n".join((text, *rows)), tally.faults


def scarce_resources(options):
    """Run with little memory or disk space, and twice at once."""
    title, header = "## With little memory or disk space, and two runs at once", "| limit | runs | outcomes |"
    lines, faults = [title, "", header, "|---|---:|---|"], []
    for limit, campaign, arguments in (
        ("address space of 50 to 2000 MB", limits.small_address_spaces, ()),
        ("a control group of 100 to 600 MB", limits.small_control_groups, ()),
        ("a disk of 0.2 to 1.3 MB", limits.full_disks, (20, options.seed)),
        ("two runs at once in one folder", limits.races, (10,)),
    ):
        try:
            tally = campaign(*arguments)
        except OSError as error:
            lines.append(f"| {limit} | 0 | not tried: {_cell(str(error))} |")
            continue
        lines.append(f"| {limit} | {tally.runs} | {_counts(tally.outcomes)} |")
        faults += [f"{limit}: {fault}" for fault in tally.faults]
    return "\n".join(lines), faults


def _counts(counter):
    return ", ".join(f"{outcome}: {count}" for outcome, count in sorted(counter.items()))


def _cell(text):
    line = " ".join(text.split()).replace("|", "\\|").encode("utf-8", "replace").decode()
    return line if len(line) <= MAX_CELL else f"{line[: MAX_CELL - 1]}…"


if __name__ == "__main__":
    main()
