"""Looking up the next job while one runs."""

import gzip

import pytest

from cryores_lite import resources
from cryores_lite.batch.prefetch import Prefetched, prefetch, prefetch_jobs
from cryores_lite.job import plan
from tests.runtime.maps import lumps, save


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A map, plain and compressed."""
    folder = tmp_path_factory.mktemp("source")
    plain = save(folder / "a.mrc", lumps())
    (folder / "c.map.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder


def test_a_compressed_map_is_read_ahead_only_if_memory_allows(source):
    plain, packed = (plan(source / name, None) for name in ("a.mrc", "c.map.gz"))

    def key(job):
        return {}

    for busy in (0.0, resources.available_memory()):
        assert prefetch(plain, busy, key).input[0].density.memory_mapped
    assert not prefetch(packed, 0.0, key).input[0].density.memory_mapped
    assert prefetch(packed, resources.available_memory(), key).input is None


def test_jobs_are_prefetched_one_ahead_in_order(source):
    jobs, looked_up = [plan(source / f"{n}.mrc", None) for n in range(5)], []

    def look_up(job, busy):
        looked_up.append(job)
        return Prefetched(job=job)

    for number, ready in enumerate(prefetch_jobs(jobs, look_up)):
        assert ready.job is jobs[number]
        assert len(looked_up) <= number + 2
    assert looked_up == jobs
