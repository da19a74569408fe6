"""Plain text in, plain text out: networks of fairseq or CTranslate2, with reranking by the backward network."""
