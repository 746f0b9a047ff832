"""Floor 4a: sockets that we open outward. Rooms here do not know each other."""
