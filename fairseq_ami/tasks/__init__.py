from fairseq_ami.tasks import ami_dialog, ami_translation, dialog_gan, hierarchical_dialog, text_vae  # noqa: F401
