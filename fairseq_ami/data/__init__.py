from fairseq_ami.data.numbered import NumberedSentences
from fairseq_ami.data.ordered import SeededOrder
from fairseq_ami.data.reverse import as_source, reverse_sample
from fairseq_ami.data.sentences import SentenceDataset, load_sentences
from fairseq_ami.data.unlabelled import WithUnlabelled, load_unlabelled

__all__ = [
    "NumberedSentences",
    "SeededOrder",
    "SentenceDataset",
    "WithUnlabelled",
    "as_source",
    "load_sentences",
    "load_unlabelled",
    "reverse_sample",
]
