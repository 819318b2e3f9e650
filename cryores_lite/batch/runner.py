"""Many maps with one network: go on where an earlier run stopped, read one map ahead, keep a table."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cryores_lite.batch import provenance as record
from cryores_lite.batch import table
from cryores_lite.batch.prefetch import Prefetched, prefetch, prefetch_jobs
from cryores_lite.console import print_outcome
from cryores_lite.job import Job, Method, RunOptions, lazy_model, run_job
from cryores_lite.method.network import shipped
from cryores_lite.outputs.outcome import row as outcome_row

if TYPE_CHECKING:
    from cryores_lite.method.network import Model
    from cryores_lite.types import Progress


@dataclass(frozen=True)
class Reporting:
    """How to tell what happens: JSON lines, nothing but errors, a bar for the tiles of a job."""

    as_json: bool
    quiet: bool
    progress: Callable[[int, Job], Progress]


def work(jobs: Sequence[Job], means: RunOptions, tables: Sequence[Path], voice: Reporting) -> bool:
    """Do the jobs that are not finished yet, tell each one's outcome, and write every one's row into the tables.

    Returns
    -------
    whether all maps are done

    Raises
    ------
    InputError, OutputError
        A table cannot be used.
    """
    for path in tables:
        table.check(path)
    counts: Counter[str] = Counter()
    for row in rows(jobs, means, voice):
        counts["kept" if row["kept"] else row["outcome"]] += 1
        for path in tables:
            table.append(path, row)
    for path in tables:
        table.write(path, table.last_of_each(table.read(path)))
    if not voice.quiet:
        typer.echo(
            f"{len(jobs)} maps: {counts['done']} done, {counts['kept']} kept, {counts['failed']} failed", err=True
        )
    return not counts["failed"]


def rows(jobs: Sequence[Job], means: RunOptions, voice: Reporting) -> Iterator[table.Row]:
    """Do the jobs one after the other, those that are finished excepted; give the table's row of every one."""
    network, digest = lazy_model(means), cache(record.digest)

    def key(job: Job) -> dict[str, Any]:
        model = digest(means.model or shipped()) if job.method is Method.network else None
        return record.key(job, model, lambda path: record.digest(path) if path == job.map_path else digest(path))

    for number, ready in enumerate(prefetch_jobs(jobs, lambda job, busy: prefetch(job, busy, key)), 1):
        if ready.is_finished and ready.record:
            row = record.kept(ready.job, ready.record)
            _tell_kept(row, voice)
        else:
            row = _do(ready, network, means.threads, voice, number)
        yield table.stamped(row, ready.is_finished)


def _do(
    ready: Prefetched, network: Callable[[], Model], threads: int | None, voice: Reporting, number: int
) -> dict[str, Any]:
    """Do one map under a claim to the names of its answers, and tell what became of it."""
    job, before, claimed = ready.job, ready.record, None
    if ready.key is not None and record.may_replace(job, before):
        with contextlib.suppress(OSError):  # the attempt will say so
            claimed = record.claim(job, ready.key, before)
            job = replace(job, overwrite=True)
    outcome = run_job(job, network, threads, voice.progress(number, job), ready.read)
    row = outcome_row(outcome)
    if claimed and ready.key is not None:
        with contextlib.suppress(OSError):  # a claim stays, and the next run does the map again
            if outcome.error is None:
                record.finish(job, ready.key, row, claimed)
            else:
                record.give_up(job, claimed, before)
    print_outcome(outcome, voice.as_json, voice.quiet)
    return row


def _tell_kept(row: dict[str, Any], voice: Reporting) -> None:
    if voice.as_json:
        typer.echo(json.dumps(row, allow_nan=False))
    elif not voice.quiet:
        typer.echo(f"{row['input']}  {table.KEPT}")
