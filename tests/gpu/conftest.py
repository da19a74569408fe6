"""The corpora and networks of the functional tests; without CUDA everything is skipped, with the reason."""

import os
from pathlib import Path

import pytest
import torch

# Before the server of the commands starts: it forks, and a forked process cannot use CUDA that its parent has touched.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only so

from functional.conftest import data, dictionaries, home, stock, trained, vae_data  # noqa: E402, F401
from gpu.device import ON_CPU  # noqa: E402

HERE = Path(__file__).parent
REASON = "needs a CUDA device and PyTorch built for it; FAIRSEQ_AMI_DEVICE=cpu checks the logic on the CPU"


def pytest_collection_modifyitems(items: list) -> None:
    missing = not ON_CPU and not torch.cuda.is_available()
    for item in items:
        if HERE in Path(item.fspath).parents:
            item.add_marker(pytest.mark.gpu)
            if missing:
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(autouse=True)
def exact_float32():
    """No TensorFloat-32: cuDNN's LSTMs use it by default, and the checks compare devices."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before
