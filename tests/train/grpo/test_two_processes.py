import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")


@pytest.mark.parametrize("credit", ["capo", "dca"])
def test_two_processes_equal_one_with_twice_the_batch(tmp_path, credit):
    """Groups of four span both processes, so credit has to be computed across them."""
    script = [str(__file__).replace("test_two_processes", "two_process_script")]
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    found = {}
    for processes, per_device in ((1, 4), (2, 2)):
        out = tmp_path / str(processes)
        out.mkdir()
        launcher = [sys.executable]
        if processes > 1:
            launcher += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
            launcher += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
        subprocess.run(
            [*launcher, *script, str(out), str(per_device), credit],
            check=True,
            env=environment,
            timeout=240,
        )
        found[processes] = torch.load(out / "weights.pt")
    moved = 0.0
    for name, alone in found[1].items():
        torch.testing.assert_close(found[2][name], alone, atol=2e-6, rtol=0)
        moved = max(moved, alone.abs().max().item())
    assert moved > 0
