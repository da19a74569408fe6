from fairseq_ami.tasks import ami_dialog, ami_translation, text_vae  # noqa: F401
