"""``vhcr``: HRED with a latent variable for the conversation and one for each reply (Park, Cho and Kim 2018)."""

import logging
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor, nn

from fairseq_ami.errors import AMIError
from fairseq_ami.models.hred import History, Keys, Replies
from fairseq_ami.models.hred_config import DIALOG, PARK, TINY, register_sizes
from fairseq_ami.models.latent_dialogue import Context, LatentEncoder, LatentHRED, VHREDConfig
from fairseq_ami.modules.gaussian import DiagonalGaussian
from fairseq_ami.modules.hierarchy import last_states
from fairseq_ami.modules.latent_heads import LatentHead
from fairseq_ami.random_streams import uniform

logger = logging.getLogger(__name__)


@dataclass
class VHCRConfig(VHREDConfig):
    conversation_dim: int = field(default=100, metadata={"help": "size of the latent variable of a conversation"})
    utterance_drop: float = field(
        default=0.25,
        metadata={
            "help": "in training, hide each utterance from the context with this probability; the posteriors see it"
        },
    )


class ConversationEncoder(LatentEncoder):
    """A latent encoder whose context depends on a latent variable of the conversation, with prior N(0, I).

    The context GRU starts at tanh(W z + b) and reads z beside each utterance.
    The posterior of z reads the vectors of all utterances, the replies among them.
    Where a reply is not known it reads the history alone.
    A batch of histories and replies, instead of whole dialogues, takes history and reply for the conversation.
    """

    def __init__(self, dictionary: Dictionary, embed_tokens: nn.Embedding, cfg: VHCRConfig):
        dim, hidden = cfg.conversation_dim, cfg.context_hidden_size
        super().__init__(dictionary, embed_tokens, cfg, "gaussian", beside=dim, reads=dim)
        size, layers = self.utterances.output_size, cfg.context_layers
        self.conversation = nn.GRU(size, cfg.context_hidden_size, batch_first=True, bidirectional=True)
        self.conversation_posterior = LatentHead(2 * cfg.context_hidden_size, hidden, dim, "gaussian")
        self.first_context = nn.Linear(dim, layers * hidden)
        self.unknown_utterance = nn.Parameter(torch.empty(size).uniform_(-0.1, 0.1))
        self.utterance_drop = cfg.utterance_drop

    def posterior_of_conversation(self, vectors: Tensor, counts: Tensor) -> DiagonalGaussian:
        """q(z | utterances).

        Args:
            vectors: of the utterances, shape (batch, most, size).
            counts: of each conversation, shape (batch,). Without an utterance, one vector of zeros is read.
        """
        return self.conversation_posterior(last_states(self.conversation, vectors, counts.clamp(min=1)))

    def context_to_decode(self, history: History, replies: Replies, keys: Tensor) -> Context:
        """z is drawn from its posterior given the history alone, as Park et al. do."""
        posterior = self.posterior_of_conversation(history.vectors, history.counts)
        return self._context(history.vectors, replies, posterior.draw(keys))

    def context_to_learn(
        self, history: History, replies: Replies, vectors: Tensor, keys: Keys
    ) -> Tuple[Context, Dict[str, Tensor]]:
        """z is drawn from its posterior given the whole conversation.

        Returns:
            The contexts, and of each conversation ``kl_conversation`` and ``weight_conversation``, log p(z) - log q(z)
            of the z drawn, shape (batch,).
        """
        posterior = self.posterior_of_conversation(*self.whole(history, replies, vectors))
        z = posterior.draw(keys.conversation)
        standard = DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z))
        found = {
            "kl_conversation": posterior.kl(),
            "weight_conversation": (standard.log_prob(z) - posterior.log_prob(z)).detach(),
        }
        return self._context(self.dropped(history.vectors, keys.utterances), replies, z), found

    @staticmethod
    def whole(history: History, replies: Replies, vectors: Tensor) -> Tuple[Tensor, Tensor]:
        """The utterances of the histories, and behind each its last reply; and how many they are."""
        known = torch.cat([history.vectors, history.vectors.new_zeros(len(history.vectors), 1, vectors.size(1))], 1)
        last = replies.turn == history.counts[replies.owner]
        places = (replies.owner[last], replies.turn[last])
        return known.index_put(places, vectors[last]), history.counts + 1

    def dropped(self, vectors: Tensor, keys: Tensor) -> Tensor:
        """The vectors (batch, utterances, size), in training some of them hidden; each by its own random number."""
        if not self.training or self.utterance_drop == 0:
            return vectors
        hidden = uniform(keys, vectors.size(1)) < self.utterance_drop
        return torch.where(hidden.unsqueeze(2), self.unknown_utterance, vectors)

    def _context(self, vectors: Tensor, replies: Replies, z: Tensor) -> Context:
        z = z.to(vectors.dtype)
        first = torch.tanh(self.first_context(z)).view(len(z), self.context.gru.num_layers, -1)
        beside = z.unsqueeze(1).expand(-1, vectors.size(1), -1)
        states = self.context(torch.cat([vectors, beside], dim=2), first.transpose(0, 1).contiguous())
        return Context(states[replies.owner, replies.turn], z[replies.owner])


@register_model("vhcr", dataclass=VHCRConfig)
class VHCR(LatentHRED):
    """A Gaussian z of the conversation, and a Gaussian z of each reply that depends on it.

    Without whole dialogues in a batch the conversation is that of history and reply, which is said once.
    """

    latent_sizes = ("latent_dim", "conversation_dim")
    _told = False

    def terms(
        self, src_tokens: Tensor, owner: Optional[Tensor], turn: Optional[Tensor], target: Tensor, keys: Keys
    ) -> Dict[str, Tensor]:
        if self.training and owner is None and not self._told:
            self._told = True
            logger.warning(
                "this task gives histories and replies, and no whole dialogues: vhcr takes a history and its reply for "
                "the conversation (pass --task hierarchical_dialog --whole-dialogues to train on whole ones)"
            )
        return super().terms(src_tokens, owner, turn, target, keys)

    @classmethod
    def build_latent_encoder(cls, cfg: Any, dictionary: Dictionary, table: nn.Embedding) -> LatentEncoder:
        if not 0 <= cfg.utterance_drop <= 1:
            raise AMIError("--utterance-drop must be in [0, 1]")
        return ConversationEncoder(dictionary, table, cfg)


_TINY = {**TINY, "latent_dim": 4, "conversation_dim": 4}
_DIALOG = {**DIALOG, "latent_dim": 32, "conversation_dim": 32}
register_sizes("vhcr", _TINY, _DIALOG, PARK)
