"""The roles: producer, worker, collector and saver, and `local`, which runs all four on this machine.

Each folder holds one role, and the modules beside the folders are shared. A role is a function of its topics: kill any
of them at any point, start it again, and the map is the same.
"""
