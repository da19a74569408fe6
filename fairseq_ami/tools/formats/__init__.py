"""Networks in the formats of other libraries: CTranslate2 and Hugging Face transformers."""
