from fairseq_ami.criterions import ami_minimax, dialog_elbo, dialog_gan, vae_mine_elbo  # noqa: F401
