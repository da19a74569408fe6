from fairseq_ami.data.reverse import as_source, reverse_sample

__all__ = ["as_source", "reverse_sample"]
