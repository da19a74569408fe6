from fairseq_ami.criterions import ami_minimax  # noqa: F401
