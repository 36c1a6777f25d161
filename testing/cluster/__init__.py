"""A real Kubernetes cluster, and operators, scans and users on it."""
