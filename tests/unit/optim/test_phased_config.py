"""Options of players: what has no effect in a run is refused."""

import pytest
from fairseq.dataclass.utils import gen_parser_from_dataclass
from unit.players import make_optimizer, make_weights

from fairseq_ami.errors import AMIError
from fairseq_ami.optim import check_options
from fairseq_ami.optim.phased_config import MOVING, NAMES, PLAYING, PRESENT, SCHEDULE, AMIPhasedConfig

PAIR, ALL = {"forward", "backward"}, {"forward", "backward", "noise"}
VAE = {"encoder", "decoder", "critic"}
# what is changed -> who must be there for it to have an effect
EFFECTS = {
    "forward_lr": (0.1, {"forward"}),
    "forward_clip_norm": (0.1, {"forward"}),
    "baseline_decay": (0.5, {"forward", "generator"}),
    "pretrain_lr": (0.1, {"forward"}),
    "pretrain_warmup_updates": (3, {"forward"}),
    "backward_lr": (0.1, {"backward"}),
    "backward_clip_norm": (0.1, {"backward"}),
    "weight_clip": (0.1, {"backward"}),
    "weight_clip_mode": ("none", {"backward"}),
    "noise_lr": (0.1, {"noise"}),
    "noise_clip_norm": (0.1, {"noise"}),
    "generator_lr": (0.1, {"generator"}),
    "generator_clip_norm": (0.1, {"generator"}),
    "discriminator_lr": (0.1, {"discriminator"}),
    "discriminator_clip_norm": (0.1, {"discriminator"}),
    "baseline_lr": (0.1, {"baseline"}),
    "baseline_clip_norm": (0.1, {"baseline"}),
    "encoder_lr": (0.1, {"encoder"}),
    "encoder_optimizer": ("sgd", {"encoder"}),
    "encoder_clip_norm": (0.1, {"encoder"}),
    "decoder_clip_norm": (0.1, {"decoder"}),
    "critic_lr": (0.1, {"critic"}),
    "critic_optimizer": ("sgd", {"critic"}),
    "critic_clip_norm": (0.1, {"critic"}),
}
GAMES = {"ami": ALL, "no noise": PAIR, "mmi-fixed": {"forward"}, "vae": VAE, "no critic": {"encoder", "decoder"},
         "language model": {"decoder"}, "gan": {"generator", "discriminator"}}  # fmt: skip


def flag(name):
    return "--" + name.replace("_", "-")


def test_the_table_knows_every_option():
    """A new option of the optimizer belongs to a player, or to all of them."""
    of_all = {"inner_optimizer", "inner_optimizer_args", *SCHEDULE, "lr", "fp16", "bf16", "_name"}
    assert set(EFFECTS) | of_all == set(AMIPhasedConfig.__dataclass_fields__)
    tables = [name for table in (PLAYING, MOVING, PRESENT) for names in table.values() for name in names]
    assert sorted(tables) == sorted(EFFECTS)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", EFFECTS)
def test_option_of_a_player(name, game):
    """It passes where its player moves; elsewhere one line names the option, its player and who there is."""
    value, felt_by = EFFECTS[name]
    cfg = AMIPhasedConfig(**{name: value})
    if felt_by & GAMES[game]:
        check_options(cfg, GAMES[game])
        return
    with pytest.raises(AMIError) as error:
        check_options(cfg, GAMES[game])
    text = str(error.value)
    assert text.startswith(f"{flag(name)} is for the {NAMES[min(felt_by)]}") and "leave it out" in text
    assert ", ".join(sorted(GAMES[game])) in text


@pytest.mark.parametrize("game", GAMES)
def test_defaults_pass_everywhere(game):
    """Also when they are written down, as a configuration file does."""
    written = {name: AMIPhasedConfig.__dataclass_fields__[name].default for name in EFFECTS}
    check_options(AMIPhasedConfig(**written), GAMES[game])


def test_options_of_the_pair_do_not_ask_who_moves():
    """mmi-fixed: whether there is a box is the game's to say, and --pretrain-lr acts before the game."""
    for name in ("weight_clip", "weight_clip_mode", "pretrain_lr", "baseline_decay"):
        check_options(AMIPhasedConfig(**{name: EFFECTS[name][0]}), {"forward"}, others=PAIR)
    with pytest.raises(AMIError, match="--backward-clip-norm"):
        check_options(AMIPhasedConfig(backward_clip_norm=0.1), {"forward"}, others=PAIR)


def test_a_network_that_is_only_pretrained():
    """mmi-fixed after pretraining: the limit of the backward network's gradient is felt there, its own rate is not."""
    check_options(AMIPhasedConfig(backward_clip_norm=0.1), {"forward"}, PAIR)
    with pytest.raises(AMIError, match="--backward-lr is for the backward network"):
        check_options(AMIPhasedConfig(backward_lr=0.1), {"forward"}, PAIR)


@pytest.mark.parametrize("settings", [{"inner_lr_scheduler": "step"}, {"inner_lr_scheduler_args": '{"a": 1}'}])
def test_scheduler_where_all_follow_lr(settings):
    with pytest.raises(AMIError, match="leave it out and use --lr-scheduler"):
        check_options(AMIPhasedConfig(**settings), VAE)
    check_options(AMIPhasedConfig(critic_lr=0.1, **settings), VAE)
    check_options(AMIPhasedConfig(**settings), PAIR)


@pytest.mark.parametrize("players, settings", [(ALL, {"critic_lr": 0.1}), (PAIR, {"noise_lr": 0.1})])
def test_the_optimizer_looks_at_its_players(players, settings):
    """Before anything is trained."""
    with pytest.raises(AMIError, match="has no updates in this run"):
        make_optimizer(make_weights(players=sorted(players)), **settings)


def test_help_texts_stand_alone(monkeypatch):
    """Each names what it is about: nobody reads the option before it in an alphabetical list."""
    import argparse

    parser = argparse.ArgumentParser()
    gen_parser_from_dataclass(parser, AMIPhasedConfig())
    texts = {action.dest: action.help for action in parser._actions if action.dest != "help"}
    assert set(texts) == set(AMIPhasedConfig.__dataclass_fields__) - {"lr", "fp16", "bf16", "_name"}
    for name, text in texts.items():
        assert not text.startswith(("of ", "the same", "its ")), (name, text)
    assert len(set(texts.values())) == len(texts)
