"""What a reward could give before anybody trains for it: which of a source's samples it would pick."""
