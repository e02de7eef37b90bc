"""Three servers are parted, go on in the same room, and meet again: they must agree."""
