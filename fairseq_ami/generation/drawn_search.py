"""fairseq's search, once for each draw of something random."""

from typing import Any, Mapping, Sequence

import torch
from fairseq.models import BaseFairseqModel
from fairseq.sequence_generator import SequenceGenerator

from fairseq_ami.types import Hypotheses


class DrawnSearch:
    """Runs *generator* once a draw; what is drawn is the same for all hypotheses of a search.

    Args:
        generator: a stock generator; its search and its settings are used as they are.
        draws: how many for each source; the best hypothesis of each goes into the n-best list.
    """

    def __init__(self, generator: SequenceGenerator, draws: int):
        self.generator, self.draws = generator, draws

    def __getattr__(self, name: str) -> Any:
        return getattr(self.generator, name)

    def cuda(self) -> "DrawnSearch":
        self.generator.cuda()
        return self

    def start(self, sample: Mapping[str, Any]) -> None:
        """Called with a batch, before its first draw."""

    def use(self, draw: int) -> None:
        """Called before each search: what is drawn is number *draw*."""
        raise NotImplementedError

    @torch.no_grad()
    def generate(self, models: Sequence[BaseFairseqModel], sample: Mapping[str, Any], **kwargs: Any) -> Hypotheses:
        """One hypothesis a draw for each source, best score first."""
        self.start(sample)
        found: Hypotheses = [[] for _ in range(len(sample["net_input"]["src_tokens"]))]
        for draw in range(self.draws):
            self.use(draw)
            for row, hypotheses in enumerate(self.generator.generate(models, sample, **kwargs)):
                found[row].extend(hypotheses[:1])
        return [sorted(row, key=lambda h: -float(h["score"])) for row in found]
