"""Scans on a Kubernetes cluster, as their users see them: through kubectl, with the rights that they have there.

Nothing here needs the operator's process: a scan is a resource that one makes, reads, changes and deletes, its logs are
those of its pods, and its results lie on a claim. `kubectl` is the only module that starts a process.
"""
