from fairseq_ami.tasks import ami_translation  # noqa: F401
