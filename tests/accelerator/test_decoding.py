"""Decoding and measuring on the simulated accelerator give what the CPU gives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from accelerator import runs
from accelerator.device import DEVICE, to_device
from accelerator.runs import AMI, DIALOGUE, MINE, TRANSLATION, VAE
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig
from functional.settings import NETWORKS
from functional.vae_settings import LSTM, TRANSFORMER

from fairseq_ami.choices import DECODINGS, MI_ESTIMATORS
from fairseq_ami.data.sentences import SentenceDataset
from fairseq_ami.generation.latent_decoding import DecodingOptions, generate
from fairseq_ami.tools.information import bounds, estimation
from fairseq_ami.tools.reranking import nbest, scores
from fairseq_ami.tools.text_vae import likelihood
from fairseq_ami.tools.text_vae.studies import LatentStudies

SETTINGS = {"transformer": TRANSFORMER, "lstm": LSTM}


def on_both(folder: Path, flags: List[str], measure: Any, tolerance: float) -> Any:
    """What *measure* makes of a model with spread weights, alike on the CPU and on the device."""
    found = []
    for on_device in (False, True):
        with runs.device(on_device), torch.no_grad():
            run = runs.trainer(folder, flags, False)
            for parameter in run.model.parameters():
                parameter.mul_(3.0 if parameter.dim() > 1 else 1.0)
            model = (to_device(run.model) if on_device else run.model).eval()
            found.append(measure(run.task, model, DEVICE if on_device else torch.device("cpu")))
    different = runs.differences(*found, tolerance)
    assert not different, different[:10]
    return found[0]


def hypotheses(generator: Any, model: Any, batch: Dict[str, Any], device: torch.device) -> Any:
    found = generator.generate([model], utils.move_to_cuda(batch, device))
    return [[(h["tokens"].tolist(), h["positional_scores"].cpu()) for h in row] for row in found]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("draws", [0, 3])
def test_search(draws: int, network: str, tmp_path: Path) -> None:
    """fairseq's search, and the noisy one."""
    batch = runs.pairs(runs.dictionary(tmp_path))[0]

    def measure(task: Any, model: Any, device: torch.device) -> Any:
        generator = task.build_generator([model], GenerationConfig(beam=3, max_len_b=8))
        return hypotheses(generator, model, batch, device)

    flags = [*TRANSLATION, *NETWORKS[network], *AMI, "--latent-noise-draws", str(draws)]
    found = on_both(tmp_path, flags, measure, 1e-5)
    assert all(len(row) == 3 for row in found)


@pytest.mark.parametrize("network", SETTINGS)
@pytest.mark.parametrize("method", DECODINGS)
def test_latent_decoding(method: str, network: str, tmp_path: Path) -> None:
    runs.dictionary(tmp_path)
    z, keys = torch.randn(6, 4, generator=torch.Generator().manual_seed(2)), torch.arange(6)
    options = DecodingOptions(unk=False, beam=3, topk=8 if method == "sample" else 0)

    def measure(task: Any, model: Any, device: torch.device) -> Any:
        given = z.to(device) if method == "greedy" else z  # either may be passed
        return [row.tolist() for row in generate(model, given, 9, method, options, keys)]

    on_both(tmp_path, [*VAE, *SETTINGS[network]], measure, 0.0)


@pytest.mark.parametrize("kind", ["translation", "dialogue"])
def test_reranking(kind: str, tmp_path: Path) -> None:
    """n-best lists, and what the backward network gives them."""
    batches = runs.pairs(runs.dictionary(tmp_path), dialogue=kind == "dialogue")
    rows = {int(n): (batch, place) for batch in batches for place, n in enumerate(batch["id"])}
    pairs = [[utils.strip_pad(side[place], 1) for side in (batch["net_input"]["src_tokens"], batch["target"])]
             for _, (batch, place) in sorted(rows.items())]  # fmt: skip
    cfg = SimpleNamespace(
        dataset=SimpleNamespace(max_tokens=200, batch_size=None, num_workers=0, data_buffer_size=0),
        common=SimpleNamespace(seed=1, log_format="simple", log_interval=100, no_progress_bar=True),
        common_eval=SimpleNamespace(post_process=None),
    )

    def measure(task: Any, model: Any, device: torch.device) -> Any:
        lists = []
        for source, target in pairs:
            candidates = (nbest.Hypothesis(target, 0.0, None, ""), nbest.Hypothesis(target[1:], 0.0, None, ""))
            lists.append(nbest.Candidates(source, None, candidates, nbest.context_length(task, source)))
        back = task.reversed()
        return [torch.from_numpy(row) for row in scores.backward_log_probs(lists, back, [model.other], cfg, "")]

    flags = [*(DIALOGUE if kind == "dialogue" else TRANSLATION), *NETWORKS["transformer"], *AMI]
    on_both(tmp_path, flags, measure, 0.0)


def test_bounds_of_a_pair(tmp_path: Path) -> None:
    """``fairseq-ami bound``."""
    batches = runs.pairs(runs.dictionary(tmp_path))

    def measure(task: Any, model: Any, device: torch.device) -> Any:
        return bounds.measure(model, batches, task.target_dictionary, common=model, frozen=model).as_dict()

    on_both(tmp_path, [*TRANSLATION, *NETWORKS["transformer"], *AMI], measure, 0.0)


@pytest.mark.parametrize("network", SETTINGS)
def test_measures_of_a_text_vae(network: str, tmp_path: Path) -> None:
    """``fairseq-ami vae-eval`` and ``vae-sample``."""
    symbols = runs.dictionary(tmp_path)
    lines = [row[row.ne(symbols.pad())] for batch in runs.sentences(symbols) for row in batch["target"]]
    data = SentenceDataset(runs.Lines(lines), symbols, shuffle=False)

    def measure(task: Any, model: Any, device: torch.device) -> Any:
        settings = likelihood.Settings(iw_samples=5, mi_batch=4)
        studies = LatentStudies(model, 8, "sample")
        texts = [symbols.string(line) for line in lines[:3]]
        return {
            "figures": likelihood.measure(model, data, settings).as_dict(),
            "prior": studies.prior(3),
            "words": studies.reconstruct(texts, 2, "here"),
            "between": studies.interpolate([(texts[0], texts[1])], 3, "here"),
            "neighbours": studies.neighbours(texts, data, 2, "here"),
        }

    on_both(tmp_path, [*VAE, *SETTINGS[network], *MINE], measure, 1e-5)


@pytest.mark.parametrize("name", MI_ESTIMATORS)
def test_estimates_of_information(name: str) -> None:
    """``fairseq-ami mi``."""
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(60, 2))).float()
    settings = estimation.EstimationSettings(updates=4, batch_size=16, hidden=8)
    found = []
    for on_device in (False, True):
        with runs.device(on_device):
            place = DEVICE if on_device else torch.device("cpu")
            found.append(vars(estimation.estimate(name, x.to(place), (x + 0.5).to(place), settings)))
    assert not runs.differences(*found, 1e-6)
