"""Scans on a Kubernetes cluster, through the user's own kubectl and with the user's own permissions.

Nothing here talks to the operator: a scan is a resource that users create, read, patch and delete, its logs are those
of its pods, and its results are files on a claim. `client` is the only module that starts processes.
"""
