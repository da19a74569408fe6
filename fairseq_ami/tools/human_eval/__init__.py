"""Human judgements of replies: blind sheets of pairs, their scores, and systems side by side (AMI, section 4.1)."""
