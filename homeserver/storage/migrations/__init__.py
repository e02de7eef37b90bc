"""The steps that bring a database to the tables of today: forward only, run by `homeserver.storage.upgrade`."""
