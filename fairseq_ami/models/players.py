"""Whose a parameter is, where players take turns."""

from typing import Mapping

from torch import nn


def tag_players(networks: Mapping[str, nn.Module]) -> None:
    """Note on each parameter its player, and whether it stays as it is.

    Args:
        networks: player -> its network.
    """
    for player, network in networks.items():
        for parameter in network.parameters():
            setattr(parameter, "param_group", player)  # where fairseq looks for it
            setattr(parameter, "frozen", not parameter.requires_grad)  # by fairseq, as --encoder-freeze-embed asks
