"""The roles: producer, worker, collector, saver, and the one that runs them all on this machine.

Each is a function of its topics: kill any of them at any point, start it again, and the map is the same.
"""
