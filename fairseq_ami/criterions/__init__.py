from fairseq_ami.criterions import ami_minimax, vae_mine_elbo  # noqa: F401
