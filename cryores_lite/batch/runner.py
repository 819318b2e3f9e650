"""Run jobs with one network, print their results and write tables. Finished maps are skipped, the next map is read."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cryores_lite.batch import provenance, table
from cryores_lite.batch.prefetch import Prefetched, prefetch, prefetch_jobs
from cryores_lite.batch.time_left import Series
from cryores_lite.console import Reporting, print_outcome
from cryores_lite.job import RunOptions, lazy_model, run_job
from cryores_lite.method.network import shipped_model
from cryores_lite.outputs.outcome import row as json_row
from cryores_lite.outputs.result import Job, Method

if TYPE_CHECKING:
    from cryores_lite.method.network import Model
    from cryores_lite.types import Progress


def run_jobs(
    jobs: Sequence[Job], options: RunOptions, reporting: Reporting, *, tables: Sequence[Path] = (), resume: bool = False
) -> bool:
    """Run jobs one after the other, print the result of each, and write its row into the tables.

    Parameters
    ----------
    resume : skip maps that an earlier run finished, write a record next to the files of each map, print counts

    Returns
    -------
    whether all maps are done

    Raises
    ------
    InputError, OutputError
        A table cannot be used.
    """
    for path in tables:
        table.prepare(path)
    counts: Counter[str] = Counter()
    for row in _rows(jobs, options, reporting, resume):
        counts["kept" if row["kept"] else row["outcome"]] += 1
        for path in tables:
            table.append(path, row)
    for path in tables:
        table.write(path, table.latest_rows(table.read(path)))
    if resume and not reporting.quiet:
        typer.echo(
            f"{len(jobs)} maps: {counts['done']} done, {counts['kept']} kept, {counts['failed']} failed", err=True
        )
    return not counts["failed"]


def _rows(jobs: Sequence[Job], options: RunOptions, reporting: Reporting, resume: bool) -> Iterator[table.Row]:
    """Run the unfinished jobs, and yield one table row for every job."""
    network, series = lazy_model(options), Series(jobs)
    prefetched = _prefetched(jobs, options) if resume else (Prefetched(job=job) for job in jobs)
    for number, ready in enumerate(prefetched, 1):
        if ready.is_finished and ready.record:
            row = provenance.finished_row(ready.job, ready.record)
            _print_kept(row, reporting)
        else:
            series.begin(number - 1)
            progress = reporting.progress(ready.job, number, len(jobs), series.time_left)
            row = _run(ready, network, options.threads, reporting, progress)
            series.end(is_done=row["outcome"] == "done")
        yield table.stamped(row, ready.is_finished)


def _prefetched(jobs: Sequence[Job], options: RunOptions) -> Iterable[Prefetched]:
    """Look up jobs in the records of earlier runs and read their maps in advance. Digests of shared files are kept."""
    digest = cache(provenance.digest)

    def key(job: Job) -> dict[str, Any]:
        model = digest(options.model or shipped_model()) if job.method is Method.network else None
        return provenance.key(
            job, model, lambda path: provenance.digest(path) if path == job.map_path else digest(path)
        )

    return prefetch_jobs(jobs, lambda job, memory_in_use: prefetch(job, memory_in_use, key))


def _run(
    ready: Prefetched, network: Callable[[], Model], threads: int | None, reporting: Reporting, progress: Progress
) -> dict[str, Any]:
    """Run one job, with a claim to the names of its files if its key is known; print the result and return its row."""
    job, before, claimed = ready.job, ready.record, None
    if ready.key is not None and provenance.may_replace(job, before):
        with contextlib.suppress(OSError):  # the job will report it
            claimed = provenance.claim(job, ready.key, before)
            job = replace(job, overwrite=True)
    result = run_job(job, network, threads, progress, ready.input)
    row = json_row(result)
    if claimed and ready.key is not None:
        with contextlib.suppress(OSError):  # the claim stays, and the next run repeats the map
            if result.error is None:
                provenance.finish(job, ready.key, row, claimed)
            else:
                provenance.release_claim(job, claimed, before)
    print_outcome(result, reporting)
    return row


def _print_kept(row: dict[str, Any], reporting: Reporting) -> None:
    if reporting.as_json:
        typer.echo(json.dumps(row, allow_nan=False))
    elif not reporting.quiet:
        typer.echo(f"{row['input']}  {table.KEPT}")
