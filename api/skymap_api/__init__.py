"""The contract between scanner, operator and users. Imports no client library and nothing else of ours."""
