"""The sampler and the scoring pass agree under fairseq's options of networks."""

from dataclasses import replace

import pytest
import torch
from unit.tiny import make_batch, make_criterion, make_pair

from fairseq_ami.generation.policy import Policy
from fairseq_ami.generation.rollout import roll_out

EOS = 2
LAYERS = {"encoder_layers": 3, "decoder_layers": 3}
TRANSFORMER = {
    "cross-self-attention": {"cross_self_attention": True},
    "cross-self-attention alone": {"cross_self_attention": True, "no_cross_attention": True},
    "output size": {"decoder_output_dim": 4},
    "normalised words": {"layernorm_embedding": True},
    "words as they are": {"no_scale_embedding": True},
    "no positions": {"no_token_positional_embeddings": True},
    "learned positions": {"encoder_learned_pos": True, "decoder_learned_pos": True},
    "pre-norm": {"encoder_normalize_before": True, "decoder_normalize_before": True},
    "no last norm": {"decoder_normalize_before": True, "no_decoder_final_norm": True},
    "dropped layers": {**LAYERS, "encoder_layerdrop": 0.9, "decoder_layerdrop": 0.9},
    "activation": {"activation_fn": "gelu"},
    "dropout": {"dropout": 0.5, "attention_dropout": 0.5, "activation_dropout": 0.5, "relu_dropout": 0.5},
    "shared output": {"share_decoder_input_output_embed": True},
}
LSTM = {
    "no attention": {"decoder_attention": "0"},
    "shared output": {"share_decoder_input_output_embed": True},
    "layers": {"encoder_layers": 2, "decoder_layers": 2},
    "output size": {"decoder_out_embed_dim": 6},
    "dropout": {"dropout": 0.5, "encoder_dropout_in": 0.5, "encoder_dropout_out": 0.5, "decoder_dropout_in": 0.5},
}
CASES = [("ami_transformer", name) for name in TRANSFORMER] + [("ami_lstm", name) for name in LSTM]


@pytest.mark.parametrize("arch, name", CASES)
def test_log_prob_is_that_of_the_draws(task, arch, name):
    """One pass over the sample = the sum over single steps with a cache, dropout off in both."""
    model = make_pair(
        task, arch=arch, noise_scale=0.5, **{"ami_transformer": TRANSFORMER, "ami_lstm": LSTM}[arch][name]
    )
    settings = replace(make_criterion(task).sampling, max_len_b=5)
    batch = make_batch(task, [([0, 2, 1], [0]), ([1], [0, 1])])
    steps, policy = [], settings.policy

    class Spy(Policy):
        def log_probs(self, logits, *args):
            steps.append(policy.log_probs(logits, *args))
            return steps[-1]

    spy = Spy(policy.banned, policy.temperature, policy.topk, policy.topp)
    rollout = roll_out(model, batch, replace(settings, policy=spy), 0, True, score=True)
    totals, alive = torch.zeros(4), torch.arange(4)
    for place, log_probs in enumerate(steps[:-1]):  # the last call is that of the scoring pass
        chosen = rollout.samples.tokens[alive, place]
        totals[alive] += log_probs.gather(1, chosen.unsqueeze(1)).squeeze(1)
        alive = alive[chosen.ne(EOS)]
    assert torch.allclose(rollout.log_prob.flatten(), totals, atol=1e-5)
