from fairseq_ami.tasks import ami_dialog, ami_translation, hierarchical_dialog, text_vae  # noqa: F401
