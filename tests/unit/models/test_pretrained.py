"""What a pair takes over from stock checkpoints, and what not."""

import logging

import pytest
import torch
from unit.tiny import make_pair, save_networks

from fairseq_ami.errors import AMIError


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_networks_trained_under_product_quantisation_noise_are_refused(task, tmp_path, name):
    """They have one layer more, and the noise would go on."""
    paths = save_networks(tmp_path, task, {name: {"quant_noise_pq": 0.1}})
    with pytest.raises(AMIError, match=rf"--quant-noise-pq 0.1 \(of .*{name}.pt\)"):
        make_pair(task, **paths)


def test_scalar_quantisation_noise_is_not_taken_over(task, tmp_path, caplog):
    """Its weights are those of the network without it: they are used, with a warning."""
    paths = save_networks(tmp_path, task, {"backward": {"quant_noise_scalar": 0.1}})
    with caplog.at_level(logging.WARNING):
        model = make_pair(task, **paths)
    assert "backward.pt: --quant-noise-scalar is not taken over" in caplog.text and "forward.pt" not in caplog.text
    model.load_pretrained(model.args_of_test)
    weights = torch.load(paths["backward_checkpoint"], weights_only=False)["model"]
    found = model.backward_model.state_dict()
    assert set(found) == set(weights) and all(torch.equal(found[key], weights[key]) for key in weights)
