"""Scenes of the laboratory that take seconds, as tests: the whole way from the kernel to the
report. All are `make bench-incidents`."""

from __future__ import annotations

import pytest

import tests.incidents.scenes  # noqa: F401 (registers them)
from receiver.service.symbols import available
from tests.conftest import missing
from tests.incidents.machine import UnavailableError
from tests.incidents.scene import SCENES, play
from tests.incidents.score import score

QUICK = (
    "own_growth_on_one_partition",
    "quick_growth",
    "the_parent_tells_of_a_broken_connection",
    "somebody_kills_it",
    "a_time_limit",
    "a_signal_is_swallowed",
    "a_signal_after_the_work",
    "a_torn_file_is_read",
    "a_file_is_read_too_early",
    "a_disk_is_full",
    "a_lock_is_held",
    "a_directory_of_somebody_else",
    "native_code_crashes",
    "a_pipe_hides_a_failure",
    "a_reader_has_enough",
    "a_path_is_removed_before_it_is_read",
    "a_pid_file_is_left_behind",
    "a_port_is_taken",
    "a_program_is_still_open_for_writing",
    "inotify_watches_run_out",
    "two_file_systems",
    "a_helper_keeps_the_pipe_of_its_step",
    "a_fifo_that_nobody_opens",
    "a_step_is_stopped",
    "an_heir_holds_the_lock",
    "an_own_decision_after_an_ordinary_failure",
    "refusals_that_are_expected",
    "descriptors_run_out",
    "nobody_listens",
    "a_peer_breaks_off",
    "wrong_data_in_a_whole_file",
    "an_error_of_logic",
    "memory_that_fits",
)
pytestmark = pytest.mark.live


@pytest.mark.parametrize("name", QUICK)
def test_a_real_incident_is_told_for_what_it_is(live: None, name: str) -> None:
    try:
        result = play(SCENES[name], 0)
    except UnavailableError as why:
        pytest.skip(str(why))
    found = score(result)
    assert found.right and not found.invented, (
        result.report["summary"],
        result.truth,
        result.log[-500:],
    )


def test_the_function_that_crashed_is_named_where_symbols_are(live: None) -> None:
    if not available():
        missing("bcc", "bcc cannot be imported: install python3-bpfcc")
    result = play(SCENES["native_code_crashes"], 1)  # a small C program
    (crash,) = result.report["crashes"]
    assert (
        crash["function"] == "parse"
        and crash["module"].endswith("/work")
        and len(crash["build_id"]) == 40
    )
