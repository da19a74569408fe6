"""How often this package makes the host wait for the device in an update, against what it needs.

Per update: the norms of the gradients, the logs, each running statistic, whether the loss is finite, a fraction of
clipped weights. Per pass through an output layer: where the words are. Per sampled symbol: which rows go on.
"""

from pathlib import Path
from typing import Dict, List

import pytest
from accelerator import runs
from accelerator.runs import AMI, MINE, TRANSLATION, VAE
from functional.settings import NETWORKS
from functional.vae_settings import LSTM

# beside one for each sampled symbol
NEEDED = {"noise": 15, "forward": 17, "backward": 13}
PACKAGE = Path(__file__).resolve().parents[2] / "fairseq_ami"


def waits(folder: Path, flags: List[str], pairs: bool) -> Dict[str, int]:
    """Of the third update, by file of the package."""
    symbols = runs.dictionary(folder)
    batch = (runs.pairs if pairs else runs.sentences)(symbols)[0]
    found: Dict[str, int] = {}
    with runs.device(True) as accelerator:
        run = runs.trainer(folder, flags, True)
        for _ in range(3):
            accelerator.waits.clear()
            run.train_step([batch])
    for (file, _, _), count in accelerator.waits.items():
        if Path(file).is_relative_to(PACKAGE):
            found[Path(file).name] = found.get(Path(file).name, 0) + count
    return found


@pytest.mark.parametrize("length", [4, 8])
@pytest.mark.parametrize("phase", NEEDED)
def test_ami(phase: str, length: int, tmp_path: Path) -> None:
    flags = [*TRANSLATION, *NETWORKS["transformer"], *AMI, "--pretrain-updates", "0", "--noise-updates", "0"]
    flags += ["--phase-cycle", f"{phase}=1000", "--sample-max-len-b", str(length)]
    found = waits(tmp_path, flags, True)
    assert found["sampler.py"] <= length + 2  # one a symbol, the longest limit, the longest sample
    assert sum(found.values()) <= length + NEEDED[phase], found


@pytest.mark.parametrize("mine", [False, True])
def test_text_vae(mine: bool, tmp_path: Path) -> None:
    found = waits(tmp_path, [*VAE, *LSTM, *(MINE if mine else [])], False)
    assert sum(found.values()) <= 4 + mine, found
