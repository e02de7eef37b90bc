"""What it costs two servers of a kind to talk with each other: Parley with Parley, Synapse with Synapse."""
