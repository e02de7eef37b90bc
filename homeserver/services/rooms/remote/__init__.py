"""What the rooms of this server do with other servers: take events in, and give them out."""
