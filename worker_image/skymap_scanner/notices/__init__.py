"""Notices about an event: what they say, the forms in which they are sent, and sending them.

    ScanResult ─▶ Notice ─▶ document (webhook, CloudEvents, Slack, GCN) ─▶ outbox ─▶ sender ─▶ HTTP server or Kafka

Notices and documents are pure. A document is in the outbox before it is sent, and is marked there afterwards.
"""
