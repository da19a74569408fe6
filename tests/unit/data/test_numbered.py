"""Numbers of the sentences that fairseq-interactive decodes."""

import torch
from fairseq.data import LanguagePairDataset
from unit.tiny import dictionary

from fairseq_ami.data import NumberedSentences

EOS = 2


def test_numbers_go_with_the_batches():
    """Of each batch in turn, rows as fairseq has sorted them; the second buffer counts on."""
    lengths = (2, 4, 3)
    sentences = [torch.tensor([4] * (length - 1) + [EOS]) for length in lengths]
    data = NumberedSentences(LanguagePairDataset(sentences, lengths, dictionary(2)), first=10)
    first, second = data.collater([data[0], data[1]]), data.collater([data[2]])
    assert first["net_input"]["src_lengths"].tolist() == [4, 2] and first["id"].tolist() == [1, 0]
    assert second["id"].tolist() == [2]  # fairseq-interactive adds up its own numbers
    assert data.next_numbers().tolist() == [11, 10]
    assert data.next_numbers().tolist() == [12]
