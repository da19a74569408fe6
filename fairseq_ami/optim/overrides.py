"""``--optimizer-overrides``: other settings for the players' optimizers at a resume."""

from typing import Any, Dict, Mapping, Optional

from fairseq_ami.errors import AMIError


def overrides_of_players(
    overrides: Optional[Mapping[str, Any]], optimizers: Mapping[str, Any]
) -> Dict[str, Dict[str, Any]]:
    """What to override in the optimizer of each player.

    fairseq's composite optimizer wants a dictionary for each player, and ignores any other without a word.

    Args:
        overrides: settings for all players, or a dictionary of settings for each of some players; may be None.
        optimizers: fairseq's optimizer of each player.

    Raises:
        AMIError: a learning rate, which the schedules set again, or a setting that an optimizer does not have.
    """
    if not overrides:
        return {}
    by_player = set(overrides) <= set(optimizers)
    found = {
        player: dict(overrides[player] if by_player else overrides)
        for player in (overrides if by_player else optimizers)
    }
    for player, settings in found.items():
        known = set(optimizers[player].param_groups[0]) - {"params"}
        for name in settings:
            if name == "lr":
                raise AMIError(
                    "--optimizer-overrides: lr is set again in every update: pass the learning rates themselves "
                    "(--forward-lr, --backward-lr, --noise-lr; of a text VAE --lr, --encoder-lr, --critic-lr)"
                )
            if name not in known:
                raise AMIError(
                    f"--optimizer-overrides: the optimizer of the player {player} has no setting {name!r}; it has "
                    f"{', '.join(sorted(known - {'lr'}))}"
                )
    return found
