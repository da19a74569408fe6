"""Forward network P(T|S), backward network Q(S|T) and latent-noise network in one fairseq model.

Networks only: no loss is computed here.
"""

import logging
from typing import Any, Collection, Dict, List, Optional, Tuple, Type

from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqEncoder
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fairseq_ami.checkpoints import languages_of
from fairseq_ami.choices import DIRECTIONS
from fairseq_ami.errors import AMIError
from fairseq_ami.models.pair_latent import Latent, noise_draws
from fairseq_ami.models.pair_settings import (
    as_namespace,
    exchange_limits,
    exchange_word_vectors,
    mirrored,
    players_of,
    set_args,
)
from fairseq_ami.models.players import tag_players
from fairseq_ami.models.pretrained import check_quant_noise, load_network_weights, network_settings
from fairseq_ami.models.refused import refuse_network, refuse_options
from fairseq_ami.models.stock_network import build_network
from fairseq_ami.modules import InfoMaxHeads, LatentNoise, root_mean_square
from fairseq_ami.objectives import token_log_likelihood
from fairseq_ami.objectives.likelihood import places_of
from fairseq_ami.types import Arguments, Batch, DecoderOut, EncoderOut, NetInput, Network

logger = logging.getLogger(__name__)


class PairedModel(BaseFairseqModel):
    """Two encoder-decoders and a noise network; behaves like one of the two when it decodes.

    Args:
        forward_model: P(T|S).
        backward_model: Q(S|T), or None: rewards need not come from it.
        latent_noise: the noise network, or None.
        direction: the network that :meth:`forward`, :attr:`encoder` and :attr:`decoder` stand for.
        infomax: heads of the backward network for InfoMax-GAN's regulariser, or None.
        mirrored: the backward network reads what the forward one writes, and the other way round. In dialogue it does
            not: it reads a history as well, and writes a part of one.

    Subclasses give ``network_class`` (the fairseq model) and ``latent`` (where z sits).
    """

    network_class: Type[Network]
    latent: Latent[Any]

    def __init__(
        self,
        forward_model: Network,
        backward_model: Optional[Network],
        latent_noise: Optional[LatentNoise],
        direction: str = "forward",
        infomax: Optional[InfoMaxHeads] = None,
        mirrored: bool = True,
    ):
        super().__init__()
        self.forward_model = forward_model
        self.backward_model = backward_model
        self.latent_noise = latent_noise
        self.infomax = infomax
        self.direction = direction
        self.mirrored = mirrored
        tag_players(self.player_networks())

    # ------------------------------------------------------------------ building

    @classmethod
    def build_model(cls, args: Arguments, task: FairseqTask) -> "PairedModel":
        """Build the pair for *task*, which may be any task with two dictionaries.

        Everything that rebuilds the networks is written into *args* (and so into the checkpoint): the
        settings of each network and the languages of the training run.

        Raises:
            AMIError: checkpoints or settings that do not fit, or languages that are not those of the pair.
        """
        direction = cls._languages(args, task)
        dictionaries = [task.source_dictionary, task.target_dictionary]
        if direction == "backward":
            dictionaries.reverse()
        settings = cls._network_settings(args)
        check_quant_noise(getattr(args, "quant_noise_pq", 0), getattr(args, "quant_noise_scalar", 0))
        networks = {}
        for name, (source, target) in zip(DIRECTIONS, (dictionaries, dictionaries[::-1])):
            if name not in settings:
                continue
            checkpoint = getattr(args, f"{name}_checkpoint", None)
            check_quant_noise(settings[name].get("quant_noise_pq"), checkpoint=checkpoint)
            networks[name] = build_network(cls.network_class, settings[name], source, target, name)
        noise = None
        if not args.no_latent_noise:
            dim = cls.latent.dim(networks["forward"])
            noise = LatentNoise(dim, args.noise_hidden_dim or dim, args.noise_scale)
        critic = networks.get("backward")
        return cls(networks["forward"], critic, noise, direction, cls._infomax(args, critic), cls._mirrored(args))

    @staticmethod
    def _mirrored(args: Arguments) -> bool:
        return mirrored(*languages_of(vars(as_namespace(args))).values())

    @classmethod
    def _infomax(cls, args: Arguments, critic: Network) -> Optional[InfoMaxHeads]:
        dim = getattr(args, "infomax_dim", None) or 0  # checkpoints before it have none
        if dim < 0:
            raise AMIError("--infomax-dim must not be negative")
        if dim and critic is None:
            raise AMIError("--infomax-dim is for the backward network, and --no-backward-network leaves it out")
        return InfoMaxHeads(critic.encoder.embed_tokens.embedding_dim, cls.latent.dim(critic), dim) if dim else None

    @classmethod
    def _languages(cls, args: Arguments, task: FairseqTask) -> str:
        """The direction in which *task* uses the pair. fairseq stores inferred languages as None, so
        the resolved ones are kept in the model's own settings. What the backward network reads and writes
        has languages of its own in dialogue; else they are the pair's, swapped."""
        asked = [getattr(task.cfg, "source_lang", None), getattr(task.cfg, "target_lang", None)]
        if getattr(args, "pair_languages", None) is None:
            back = getattr(task, "backward_languages", asked[::-1])
            set_args(args, pair_languages=asked, backward_languages=list(back))
            return "forward"
        directions = languages_of(vars(as_namespace(args)))
        for direction, languages in directions.items():
            if languages == asked and direction in players_of(args):
                return direction
        pair, back = directions.values()
        if getattr(args, "no_backward_network", False):
            raise AMIError(f"this model has no backward network: pass -s {pair[0]} -t {pair[1]}")
        raise AMIError(
            f"this model translates {pair[0]} -> {pair[1]} and back; it was asked for {asked[0]} -> {asked[1]}. "
            f"Pass -s {pair[0]} -t {pair[1]} (its backward network: -s {back[0]} -t {back[1]})"
        )

    @classmethod
    def _network_settings(cls, args: Arguments) -> Dict[str, Dict[str, Any]]:
        """Settings of both networks: stored ones, else those of the checkpoints, else the command line's.

        Their limits are those of the forward network, and exchanged where the backward network mirrors it.
        """
        stored = getattr(args, "network_settings", None)
        if stored is not None:
            plain: Any = OmegaConf.to_container(stored) if isinstance(stored, DictConfig) else stored
            # the embeddings are among the weights by now; their files may be gone
            files = {"encoder_embed_path": None, "decoder_embed_path": None}
            return {name: {**settings, **files} for name, settings in plain.items()}
        given = vars(as_namespace(args))
        refuse_options(given)
        names = players_of(args)
        if given["backward_checkpoint"] and "backward" not in names:
            raise AMIError("--backward-checkpoint is for the network that --no-backward-network leaves out")
        settings = {
            name: network_settings(given, given[f"{name}_checkpoint"], cls.network_class, name) for name in names
        }
        if "backward" in names and not given["backward_checkpoint"] and cls._mirrored(args):
            exchange_limits(settings["backward"])
            exchange_word_vectors(settings["backward"])
        for name in names:
            refuse_network(settings[name], given[f"{name}_checkpoint"])
        set_args(args, network_settings=settings)
        return settings

    def load_pretrained(self, args: Arguments) -> None:
        """Copy the weights of ``--forward-checkpoint`` and ``--backward-checkpoint`` into the networks.

        Raises:
            AMIError: a checkpoint that is missing, damaged, or of another network or dictionary.
        """
        for name in DIRECTIONS:
            path = getattr(args, f"{name}_checkpoint")
            if path:  # given for a network that there is: see _network_settings
                load_network_weights(getattr(self, f"{name}_model"), path, name)
                logger.info("%s network: weights of %s", name, path)

    # ------------------------------------------------------------------ players

    def player_networks(self) -> Dict[str, nn.Module]:
        """The players of the game and their networks."""
        networks: Dict[str, nn.Module] = {"forward": self.forward_model}
        if self.backward_model is not None:
            networks["backward"] = self.backward_model
        if self.infomax is not None:
            networks["backward"] = nn.ModuleList([self.backward_model, self.infomax])
        if self.latent_noise is not None:
            networks["noise"] = self.latent_noise
        return networks

    def set_players(self, players: Collection[str]) -> None:
        """Let only *players* require gradients, so that the others cost no backward pass and no exchange.

        What was frozen when the pair was built stays frozen.
        """
        for player, network in self.player_networks().items():
            for parameter in network.parameters():
                parameter.requires_grad = player in players and not getattr(parameter, "frozen")

    def trained_by(self, player: str) -> List[nn.Parameter]:
        """The parameters that the updates of *player* move, in the order in which its optimizer keeps them."""
        return [p for p in self.player_networks()[player].parameters() if not getattr(p, "frozen")]

    # ------------------------------------------------------------------ one network at a time

    @staticmethod
    def encode(network: Network, tokens: Tensor, lengths: Tensor) -> EncoderOut:
        """Encoder output of *network*; rows may come in any order of length."""
        return network.encoder(tokens, src_lengths=lengths)

    def run(self, network: Network, net_input: NetInput) -> Tensor:
        """Teacher-forced logits of *network*, shape (batch, length, vocabulary)."""
        encoder_out = self.encode(network, net_input["src_tokens"], net_input["src_lengths"])
        return network.decoder(net_input["prev_output_tokens"], encoder_out=encoder_out)[0]

    def run_where(self, network: Network, net_input: NetInput, where: Tensor) -> Tensor:
        """:meth:`run` at the positions where *where* (batch, length) is True, shape (positions, vocabulary)."""
        encoder_out = self.encode(network, net_input["src_tokens"], net_input["src_lengths"])
        return self.logits_where(network, net_input["prev_output_tokens"], encoder_out, where)

    def log_likelihood(self, network: Network, net_input: NetInput, target: Tensor) -> Tensor:
        """log p of each token of *target* (batch, length) under *network*, float32, 0 at padding."""
        words = target.ne(network.decoder.embed_tokens.padding_idx)
        return token_log_likelihood(self.run_where(network, net_input, words), target, words)

    @staticmethod
    def logits_where(network: Network, previous: Tensor, encoder_out: EncoderOut, where: Tensor) -> Tensor:
        """Teacher-forced logits of the positions at which *where* is True, shape (positions, vocabulary).

        Only they reach the output layer, by far the widest one.
        """
        features = network.decoder.extract_features(previous, encoder_out=encoder_out)[0]
        return network.decoder.output_layer(features.flatten(0, 1).index_select(0, places_of(where)))

    def perturb(self, encoder_out: EncoderOut, keys: Tensor) -> Tuple[EncoderOut, Tensor]:
        """Add latent noise (equation 14) to the forward network's encoder output.

        Args:
            encoder_out: of the forward network.
            keys: one random key a row.

        Returns:
            The perturbed output, and the size of the noise of each row, shape (batch,).
        """
        z, mask = self.latent.get(encoder_out)
        eps = noise_draws(keys, z, mask)
        delta = self.latent_noise(z, eps, mask)
        return self.latent.replace(encoder_out, z + delta), root_mean_square(delta, mask)

    # ------------------------------------------------------------------ fairseq's interface

    @property
    def active(self) -> Network:
        return self.forward_model if self.direction == "forward" else self.backward_model

    @property
    def encoder(self) -> FairseqEncoder:
        return self.active.encoder

    @property
    def decoder(self) -> FairseqDecoder:
        return self.active.decoder

    def forward(self, src_tokens: Tensor, src_lengths: Tensor, prev_output_tokens: Tensor, **kwargs: Any) -> DecoderOut:
        """The active network's decoder output, as any fairseq encoder-decoder gives it."""
        encoder_out = self.encode(self.active, src_tokens, src_lengths)
        return self.active.decoder(prev_output_tokens, encoder_out=encoder_out, **kwargs)

    def get_normalized_probs(self, net_output: DecoderOut, log_probs: bool, sample: Optional[Batch] = None) -> Tensor:
        return self.active.get_normalized_probs(net_output, log_probs, sample)

    def max_positions(self) -> Tuple[int, int]:
        """The pair's limits: each side is read by one network and written by the other.

        In dialogue a reply is. A history is read by the forward network alone, and the last utterance is written by the
        backward network alone.
        """
        if self.other is None:
            return int(self.active.encoder.max_positions()), int(self.active.decoder.max_positions())
        limits = [(n.encoder.max_positions(), n.decoder.max_positions()) for n in (self.active, self.other)]
        (source, target), (other_source, other_target) = limits
        if self.mirrored:
            source = min(source, other_target)
        if self.mirrored or self.direction == "forward":
            target = min(target, other_source)
        return int(source), int(target)

    @property
    def other(self) -> Optional[Network]:
        """The network of the other direction, or None."""
        return self.backward_model if self.direction == "forward" else self.forward_model

    def max_decoder_positions(self) -> int:
        return self.active.decoder.max_positions()
