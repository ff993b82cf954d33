"""Output for people: process trees, reports, timelines and pages.

`rows`, `details`, `run_json`, `timeline` and `live` collect and format without a library. `sheet`,
`process_tree` and `terminal` draw with rich, and `page` with Jinja2: a command imports these when
it prints, so that its start does not wait for them.
"""

PLAIN_WIDTH = 100  # columns of an output that is no terminal
