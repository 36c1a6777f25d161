"""The live page: a web page that shows scans while they run, and each scan's report once it has ended.

    plan, collected, progress ─▶ follower ─▶ log, status, report ─▶ server ─▶ browsers (server-sent events)

It only reads: it acknowledges nothing, creates no topic, and no browser can change anything. Each follower reads the
topics of one scan in a thread, whatever the browsers do; each browser has a place in the follower's log, so that a slow
one costs no memory and delays nobody.
"""
