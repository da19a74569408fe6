"""Names that options choose from, where what they name needs torch: ``--help`` must not wait for it.

Registers of classes and functions stand with these; a test holds their keys to the names here.
"""

DIRECTIONS = ("forward", "backward")  # of a pair of networks: P(T|S), Q(S|T)
SIMILARITIES = ("cosine", "bleu", "chrf")  # of T and T', from which K comes
CRITICS = ("separable", "bilinear", "concat")
MI_ESTIMATORS = ("dv", "mine", "nwj", "tuba", "infonce", "js", "smile")  # of `fairseq-ami mi`
DECODINGS = ("greedy", "sample", "beam")  # of a text VAE
JUDGED_DECODINGS = {"greedy": "greedy", "sampled": "sample"}  # what tables call them -> one of DECODINGS
CORPUS_METRICS = ("bleu", "chrf", "ter")  # sacreBLEU's, of `fairseq-ami metrics`
MBR_WEIGHTS = ("uniform", "probability")  # of the candidates that a candidate is compared with
RERANKING_SCORES = ("per-token", "sum")
TOKENIZERS = ("moses", "space")  # that an exported folder can record
EXPORT_FORMATS = ("fairseq", "ctranslate2", "huggingface")
QUANTIZATIONS = ("int8", "float16", "bfloat16")  # of exported weights; int8 is CTranslate2's, bfloat16 fairseq's
ENGINES = ("fairseq", "ctranslate2")  # that decode
DIALOGUE_FORMATS = ("parlai", "dailydialog", "tsv")
SPLITS = ("train", "valid", "test")
