"""``ami_phased``: one optimizer per player, of which only the player whose phase it is takes a step."""

import logging
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, Iterable, List, Mapping, Optional

import torch
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.composite import CompositeOptimizerConfig, FairseqCompositeOptimizer
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler
from torch import Tensor

from fairseq_ami.errors import AMIError
from fairseq_ami.optim.finite import FiniteWatch
from fairseq_ami.optim.inner import PlayersOptimizer, player_config, pretrain_scheduler
from fairseq_ami.optim.overrides import overrides_of_players
from fairseq_ami.optim.phased_config import PRESENT, AMIPhasedConfig, check_options, follows_lr, given
from fairseq_ami.optim.weight_box import clip_weights
from fairseq_ami.schedules import PRETRAIN
from fairseq_ami.types import Tracker

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

logger = logging.getLogger(__name__)


def phased(optimizer: FairseqOptimizer) -> "AMIPhased":
    """The phased optimizer inside *optimizer*, which fairseq wraps for half precision.

    Raises:
        AMIError: another optimizer was chosen.
    """
    inner = getattr(optimizer, "fp32_optimizer", optimizer)
    if not isinstance(inner, AMIPhased):
        raise AMIError("this task needs --optimizer ami_phased: any other would also move the players that wait")
    return inner


@register_optimizer("ami_phased", dataclass=AMIPhasedConfig)
class AMIPhased(FairseqCompositeOptimizer):
    """fairseq's composite optimizer with flat flags, for players that take turns.

    It owns everything that an update changes and a resume must find again. These are the players' optimizers and
    update counts, the centres of the weight box, and what the task tracks (statistics of rewards, the lagging
    schedule). In half precision they are also the float32 weights and the loss scaler, which fairseq forgets.
    """

    def __init__(self, cfg: AMIPhasedConfig, params: Iterable[Tensor]):
        params = list(params)
        if not all(hasattr(parameter, "param_group") for parameter in params):
            raise AMIError(
                "ami_phased found parameters that belong to no player. With --fp16 pass --fp16-no-flatten-grads as "
                "well (the flattened mode mixes all players in one tensor); use it with the ami_* architectures"
            )
        # class attributes of the parent, which would be shared by all instances of a process
        self.optimizers: Dict[str, Any] = {}
        self.lr_schedulers: Dict[str, Any] = {}
        players = list(dict.fromkeys(getattr(parameter, "param_group") for parameter in params))
        check_options(cfg, set(players))
        groups = {player: player_config(cfg, player) for player in players}
        super().__init__(CompositeOptimizerConfig(groups=groups), params)
        self.settings = cfg
        self.followers = frozenset(player for player in players if follows_lr(cfg, player))
        self._optimizer = PlayersOptimizer(self.optimizers, self.followers)
        self.lr_scheduler = None  # an outer --lr-scheduler must not find it
        self.pretrain_schedulers = {player: pretrain_scheduler(cfg, self.optimizers[player]) for player in players}
        self.set_lr(cfg.lr[0])  # the schedulers of the pretraining left their first rate, 0
        self.counts = {name: 0 for name in [PRETRAIN, *players]}
        self.trackers: Dict[str, Any] = {}
        self.watch = FiniteWatch()
        self._tracker_states: Dict[str, Any] = {}
        self.anchor: Optional[List[Tensor]] = None
        self.origin: Optional[List[Tensor]] = None
        self.scaler: Optional[DynamicLossScaler] = None
        self._scaler_state: Optional[Dict[str, Any]] = None
        self.stats: Dict[str, float] = {}
        self.active: str = players[0]
        self.phase = PRETRAIN
        self._moving: List[str] = []
        self.boxed = True

    # ------------------------------------------------------------------ what the trainer sees

    def set_lr(self, lr: float) -> None:
        """Set the players without a learning rate of their own (fairseq's default outer scheduler would set all)."""
        for player in self.followers:
            self.optimizers[player].set_lr(lr)

    def get_lr(self) -> float:
        """Learning rate of the players that follow --lr; where none does, of the player that moved last."""
        player = min(self.followers, default=self.active)
        return self.optimizers[player].param_groups[0]["lr"]

    @property
    def params(self) -> Iterable[Tensor]:
        """All parameters (the parent asks its inner optimizers for groups)."""
        for group in self.param_groups:
            yield from group["params"]

    @property
    def supports_step_with_scale(self) -> bool:
        """No: gradients must be unscaled when each player's are clipped."""
        return False

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Optional[Callable[[Tensor], Tensor]] = None) -> Tensor:
        """Total norm over all players; called once a step, before fp16 looks for an overflow.

        Raises:
            AMIError: the norm is not finite, and half precision cannot mend it by leaving the step out.
        """
        for tracker in self.trackers.values():
            tracker.hold()
        norm = super().clip_grad_norm(max_norm, aggregate_norm_fn)
        self.watch.close(norm, self.scaler)
        return norm

    def step(
        self,
        closure: Optional[Callable[[], Tensor]] = None,
        scale: float = 1.0,
        groups: Optional[Collection[str]] = None,
    ) -> None:
        """Clip, step and (the backward network) box the players in the set *groups*.

        Raises:
            AMIError: *groups* is missing: a stock task would move every player.
        """
        if not groups or isinstance(groups, str):
            raise AMIError("ami_phased steps only the players that its task names: use an ami_* task")
        self._clip(sorted(groups))
        super().step(closure, scale, groups)
        if self.phase == "backward" and self.boxed:
            # here, because fairseq copies the float32 weights over the half ones right after
            self._box()

    def _clip(self, players: List[str]) -> None:
        """Limit the gradient of each player by itself. All norms are read at once: the host waits for that."""
        gradients = {name: [p.grad for p in self.optimizers[name].params if p.grad is not None] for name in players}
        norms = {name: torch.nn.utils.get_total_norm(grads) for name, grads in gradients.items() if grads}
        read = dict(zip(norms, torch.stack(list(norms.values())).tolist())) if norms else {}
        for player in players:
            norm, limit = read.get(player, 0.0), getattr(self.settings, f"{player}_clip_norm")
            if 0 < limit < norm:
                torch._foreach_mul_(gradients[player], limit / norms[player])
            self.stats[f"gnorm_{player}"] = norm

    # ------------------------------------------------------------------ called by the task, once per applied update

    def start_update(self, phase: str, players: Iterable[str]) -> None:
        """Set the phase and the learning rates of the update to come."""
        self.phase = phase
        self._moving = sorted(players)
        for player in self._moving:
            if phase == PRETRAIN:
                self.pretrain_schedulers[player].step_update(self.counts[PRETRAIN] + 1)
            elif player not in self.followers:
                self.lr_schedulers[player].step_update(self.counts[player])
                if self.followers and self.settings.lr[0]:  # a rate of its own falls with --lr
                    optimizer = self.optimizers[player]
                    optimizer.set_lr(optimizer.get_lr() * self.get_lr() / self.settings.lr[0])
            self.stats[f"lr_{player}"] = self.optimizers[player].param_groups[0]["lr"]
            self.active = player

    def capture_anchor(self, forward: bool = False) -> None:
        """Keep the networks as they are now, at the start of the game.

        The backward network's weights are the centre of its box and the common Q of the reports.

        Args:
            forward: keep the forward network as well, as the origin that an anchored policy stays near.
        """
        if self.anchor is None and "backward" in self.optimizers:
            self.anchor = self._weights_of("backward")
        if self.origin is None and forward:
            self.origin = self._weights_of("forward")

    def _weights_of(self, player: str) -> List[Tensor]:
        return [p.detach().float().clone() for p in self.optimizers[player].params]

    def finish_update(self, group: "Optional[ProcessGroup]" = None) -> None:
        """Count the update and move what is tracked (collective over *group*)."""
        for name in {self.phase} if self.phase == PRETRAIN else {self.phase, *self._moving}:
            self.counts[name] = self.counts.get(name, 0) + 1
        device = next(iter(self.optimizers[self.active].params)).device  # nccl knows no other
        for tracker in self.trackers.values():
            tracker.commit(self.phase, group, device)

    def track(self, name: str, tracker: Tracker) -> Tracker:
        """Adopt *tracker*, whose state must survive a resume, and give it back its saved state.

        A tracker has ``hold()``, ``commit(phase, group, device)``, ``state_dict()`` and ``load_state_dict()``.

        Returns:
            the tracker of that name: *tracker*, or the one adopted before.
        """
        if name not in self.trackers:
            self.trackers[name] = tracker
            if name in self._tracker_states:
                tracker.load_state_dict(self._tracker_states.pop(name))
        return self.trackers[name]

    def set_box(self, boxed: bool) -> None:
        """Whether the game clips the backward network's weights (section 3.1 of AMI: its adversary's only).

        Raises:
            AMIError: settings of a box that there is not.
        """
        self.boxed = boxed
        asked = [name for name in PRESENT["backward"] if given(self.settings, name)]
        if not boxed and asked and str(self.settings.weight_clip_mode) != "none":
            flags = ", ".join("--" + name.replace("_", "-") for name in asked)
            raise AMIError(f"{flags}: only the backward network of --objective ami is clipped: leave it out")

    def _box(self) -> None:
        """Weight clipping of the backward network."""
        mode = str(self.settings.weight_clip_mode)
        if mode == "none":
            return
        centres = self.anchor if mode == "relative" else None
        weights = list(self.optimizers["backward"].params)
        self.stats["clipped_fraction"] = clip_weights(weights, self.settings.weight_clip, centres)

    # ------------------------------------------------------------------ state

    def _master_weights(self) -> Dict[str, List[Tensor]]:
        return {player: list(optimizer.params) for player, optimizer in self.optimizers.items()}

    @property
    def _keeps_masters(self) -> bool:
        return bool(self.settings.fp16 or self.settings.bf16)

    def state_dict(self) -> Dict[str, Any]:
        """States of the inner optimizers, and under ``ami`` all that is ours."""
        state = super().state_dict()
        masters = None
        if self._keeps_masters:
            masters = {player: [p.detach() for p in weights] for player, weights in self._master_weights().items()}
        state["ami"] = {
            "counts": dict(self.counts),
            "trackers": {
                **self._tracker_states,
                **{name: tracker.state_dict() for name, tracker in self.trackers.items()},
            },
            "anchor": self.anchor,
            "origin": self.origin,
            "masters": masters,
            "scaler": dict(vars(self.scaler)) if self.scaler is not None else None,
            "stats": dict(self.stats),
        }
        return state

    @torch.no_grad()
    def load_state_dict(self, state: Dict[str, Any], optimizer_overrides: Optional[Mapping[str, Any]] = None) -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            AMIError: the state of another optimizer, or of other players.
        """
        own = state.get("ami")
        players = {key for key in state if key not in ("ami", "loss_scale")}
        if own is None or players != set(self.optimizers):
            raise AMIError(
                f"the checkpoint holds optimizer states of {sorted(players)}, this run has the players "
                f"{sorted(self.optimizers)}: resume with the settings of the first run, or start a new one with "
                "--restore-file and --reset-optimizer"
            )
        super().load_state_dict(state, overrides_of_players(optimizer_overrides, self.optimizers))
        self.counts.update(own["counts"])
        self._tracker_states = {name: dict(tracked) for name, tracked in own["trackers"].items()}
        for name in [name for name in self.trackers if name in self._tracker_states]:
            self.trackers[name].load_state_dict(self._tracker_states.pop(name))
        self.stats = dict(own["stats"])
        self._scaler_state = own["scaler"]
        weights = self._master_weights()
        device = weights[self.active][0].device
        for name in ("anchor", "origin"):
            kept = own.get(name)  # checkpoints before --anchor-weight have no origin
            setattr(self, name, None if kept is None else [t.to(device, copy=True) for t in kept])
        if own["masters"] is not None and self._keeps_masters:
            for player, saved in own["masters"].items():
                for weight, value in zip(weights[player], saved):
                    weight.copy_(value)

    def attach_scaler(self, scaler: Optional[DynamicLossScaler]) -> None:
        """Adopt the loss scaler of fairseq's half-precision wrapper, and give it back its saved state."""
        if scaler is None or self.scaler is scaler:
            return
        self.scaler = scaler
        if self._scaler_state is not None:
            vars(scaler).update(self._scaler_state)
            self._scaler_state = None
