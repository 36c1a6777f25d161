"""The live page of all scans of a cluster, for users who may see some of them.

    SkymapScans ─▶ resources ─▶ pages ─▶ browsers        token or proxy ─▶ access ─▶ who may see what

The page reads the SkymapScans with an account of its own, and asks the API server who a user is (TokenReview) and what
they may see (SubjectAccessReview).
"""
