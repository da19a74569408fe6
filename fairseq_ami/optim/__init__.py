from fairseq_ami.optim.ami_phased import AMIPhased, phased

__all__ = ["AMIPhased", "phased"]
