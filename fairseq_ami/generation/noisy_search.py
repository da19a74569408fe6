"""Beam search under several draws of the latent noise: a diverse n-best list."""

from typing import Any, Dict, List, Mapping, Optional, Sequence

from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import EnsembleModel, SequenceGenerator
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.generation.drawn_search import DrawnSearch
from fairseq_ami.models.paired import PairedModel
from fairseq_ami.random_streams import Stream, stream_keys


class _NoisyEnsemble(EnsembleModel):
    """fairseq's ensemble whose encoder outputs are perturbed with the current keys."""

    keys: Optional[Tensor] = None

    def forward_encoder(self, net_input: Dict[str, Tensor]) -> Optional[List[Any]]:
        outs = super().forward_encoder(net_input)
        return [self.models[i].perturb(out, self.keys)[0] for i, out in enumerate(outs)]


class NoisySearch(DrawnSearch):
    """Runs *generator* once a draw (one noise a hypothesis, drawn before the beam is expanded).

    Args:
        generator: a stock generator; its search and its settings are used as they are.
        models: pairs with a noise network.
        draws: noises for each source; the best hypothesis of each goes into the n-best list.
        seed: of the noise.

    Raises:
        AMIError: a model without a noise network, or in its backward direction.
    """

    def __init__(self, generator: SequenceGenerator, models: Sequence[BaseFairseqModel], draws: int, seed: int):
        for model in models:
            if not isinstance(model, PairedModel) or model.latent_noise is None:
                raise AMIError(
                    "--latent-noise-draws needs a model with a noise network (ami_* without --no-latent-noise)"
                )
            if model.direction != "forward":
                raise AMIError("--latent-noise-draws: only the forward direction has a noise network")
        super().__init__(generator, draws)
        self.seed = seed
        self.generator.model = _NoisyEnsemble(models)
        self.generator.model.eval()

    def start(self, sample: Mapping[str, Any]) -> None:
        """Draw the noises of a batch.

        Raises:
            AMIError: a batch without the numbers of its sentences.
        """
        if "id" not in sample:
            raise AMIError("--latent-noise-draws: the batch has no `id`, on which the noise of a sentence depends")
        ids = sample["id"].to(sample["net_input"]["src_tokens"].device)
        self._keys = stream_keys(self.seed, 0, Stream.SEARCH_NOISE, ids, self.draws).view(-1, self.draws)

    def use(self, draw: int) -> None:
        self.generator.model.keys = self._keys[:, draw]
