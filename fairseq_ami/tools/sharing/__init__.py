"""Handing a trained pair on: exports, averages, the interface behind ``fairseq_ami.hub``."""
