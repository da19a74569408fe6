"""Options of the verbs, apart from their work: `--help` must not wait for torch."""
