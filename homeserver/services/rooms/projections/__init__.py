"""What follows from an event or a change of state, in tables of its own. The list stands in `services.rooms.append`."""
