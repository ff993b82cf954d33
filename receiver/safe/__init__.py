"""Safe use of the host: files of this user only, a limit on connections, and a limit on log
lines.
"""
