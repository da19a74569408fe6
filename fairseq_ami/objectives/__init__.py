from fairseq_ami.objectives.adversarial import average_word, cosine_multiplier, fake_loss
from fairseq_ami.objectives.likelihood import entropies, label_smoothed_nll, token_log_likelihood, token_log_probs
from fairseq_ami.objectives.mutual_information import (
    donsker_varadhan,
    info_nce,
    info_nce_terms,
    jensen_shannon,
    log_mean_exp_negatives,
    mine,
    nwj,
    optimal_log_xi,
    smile,
    tangent_bound,
    tuba,
)
from fairseq_ami.objectives.policy_gradient import advantages, leave_one_out_baseline, policy_loss

__all__ = [
    "advantages",
    "average_word",
    "cosine_multiplier",
    "donsker_varadhan",
    "fake_loss",
    "info_nce",
    "info_nce_terms",
    "jensen_shannon",
    "entropies",
    "label_smoothed_nll",
    "leave_one_out_baseline",
    "log_mean_exp_negatives",
    "mine",
    "nwj",
    "optimal_log_xi",
    "policy_loss",
    "smile",
    "tangent_bound",
    "token_log_likelihood",
    "token_log_probs",
    "tuba",
]
