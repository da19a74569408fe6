from fairseq_ami.data.numbered import NumberedSentences
from fairseq_ami.data.ordered import SeededOrder
from fairseq_ami.data.reverse import as_source, reverse_sample
from fairseq_ami.data.sentences import SentenceDataset, load_sentences

__all__ = ["NumberedSentences", "SeededOrder", "SentenceDataset", "as_source", "load_sentences", "reverse_sample"]
