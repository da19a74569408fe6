from fairseq_ami.objectives.adversarial import cosine_multiplier, fake_loss
from fairseq_ami.objectives.likelihood import label_smoothed_nll, token_log_likelihood, token_log_probs
from fairseq_ami.objectives.policy_gradient import advantages, leave_one_out_baseline, policy_loss

__all__ = [
    "advantages",
    "cosine_multiplier",
    "fake_loss",
    "label_smoothed_nll",
    "leave_one_out_baseline",
    "policy_loss",
    "token_log_likelihood",
    "token_log_probs",
]
