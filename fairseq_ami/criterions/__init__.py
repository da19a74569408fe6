from fairseq_ami.criterions import ami_minimax, dialog_elbo, vae_mine_elbo  # noqa: F401
