"""Numbers in, numbers out: metrics that know neither fairseq nor checkpoints."""

from fairseq_ami.metrics.diversity import distinct_n

__all__ = ["distinct_n"]
