"""N-best lists scored by the backward network: MMI decoding."""
