"""Whoever is killed when: nothing older than a second is missing, nothing is stored twice, the ledger balances.

`pytest -m stress tests/rigs/test_random_kills.py` kills in fifty runs; the suite kills each part once, in `test_kills`.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.rigs import SMALL, RunningRig, pipeline
from support.waiting import eventually

from stations.recording import verify

pytest.importorskip("h5py")
VICTIMS = ("p1", "T", "T.recorder", "p1.cam", "p1.sig")
LOST_S = 1.0
"""What a death may cost at most, seconds before it."""


@pytest.mark.stress
@pytest.mark.parametrize("seed", range(1, 51))
def test_random_kills_lose_no_more_than_a_second(tmp_path: Path, seed: int) -> None:
    """Two deaths at random moments of random parts, of the very same part or of two."""
    chance = random.Random(seed)
    with RunningRig(tmp_path, SMALL.format(name=f"chance-{seed}"), "--duration", "9") as rig:
        rig.wait_for("recording p1.cam")
        deaths = []
        for _ in range(2):
            time.sleep(chance.uniform(0.3, 2.0))  # the moment is what is tried out
            victim = chance.choice(VICTIMS)
            assert eventually(lambda name=victim: rig.has(name), 10), rig.said
            rig.kill(victim)
            deaths.append(victim)
        result = rig.finish()
    told = (deaths, rig.said, result["streams"])
    assert rig.process.returncode == 0, told
    report = verify(rig.recording)
    assert report.ok, (deaths, report.lines())
    for name, row in result["streams"].items():
        rate = 30 if name == "p1.cam" else 1000
        assert row["balanced"], told
        assert report.streams[name].duplicates == 0, told
        assert sum(row["dropped"].values()) + row["pending"] <= len(deaths) * rate * LOST_S, told
        assert row["produced"] >= rate, told
    assert pipeline("verify", str(rig.recording)).returncode == 0
