"""Networks that read and write text: what pairs and single networks have in common."""

from typing import Any, Dict, Iterator, List, Sequence

import torch
from fairseq import hub_utils, utils
from fairseq.data import LanguagePairDataset
from fairseq.sequence_scorer import SequenceScorer
from torch import Tensor

from fairseq_ami.errors import AMIError


class TextInterface(hub_utils.GeneratorHubInterface):
    """fairseq's interface for text, with likelihoods of given sentence pairs.

    Text is raw when the folder records its tokenisation and BPE (``fairseq-ami export``), else symbols
    separated by spaces.

    It is made from fairseq's configuration of the checkpoint, a translation task, and a list of encoder-decoders.
    More than one model is an ensemble.
    """

    @staticmethod
    def _checked(tokens: Tensor, number: int, limit: int) -> Tensor:
        if len(tokens) > limit:
            raise AMIError(f"sentence {number} has {len(tokens)} symbols, the model takes {limit}: split it")
        return tokens

    @torch.no_grad()
    def score_tokens(self, sources: Sequence[Tensor], targets: Sequence[Tensor]) -> List[Dict[str, Any]]:
        """fairseq's results of ``SequenceScorer`` for each pair; ``positional_scores`` are in nats.

        Args:
            sources: ids with their end symbols, each of shape (length,).
            targets: the same of the targets, as many as sources.

        Raises:
            AMIError: a sentence that is too long.
        """
        read = [self._checked(tokens, number, self.max_positions[0]) for number, tokens in enumerate(sources)]
        written = [self._checked(tokens, number, self.max_positions[1]) for number, tokens in enumerate(targets)]
        scorer = SequenceScorer(self.tgt_dict)
        found: Dict[int, Dict[str, Any]] = {}
        for batch in self._pair_batches(read, written):
            for number, best in zip(batch["id"].tolist(), scorer.generate(self.models, batch)):
                found[number] = best[0]
        return [found[number] for number in range(len(found))]

    def _pair_batches(self, sources: List[Tensor], targets: List[Tensor]) -> Iterator[Dict[str, Any]]:
        if not sources:
            return
        dataset = LanguagePairDataset(
            sources,
            torch.LongTensor([len(tokens) for tokens in sources]),
            self.src_dict,
            targets,
            torch.LongTensor([len(tokens) for tokens in targets]),
            self.tgt_dict,
            left_pad_source=self.task.cfg.left_pad_source,
            left_pad_target=self.task.cfg.left_pad_target,
            shuffle=False,
        )
        batches = self.task.get_batch_iterator(
            dataset=dataset,
            max_tokens=self.cfg.dataset.max_tokens,
            max_sentences=self.cfg.dataset.batch_size,
            max_positions=self.max_positions,
            disable_iterator_cache=True,
        ).next_epoch_itr(shuffle=False)
        for batch in batches:
            yield utils.apply_to_sample(lambda tensor: tensor.to(self.device), batch)
