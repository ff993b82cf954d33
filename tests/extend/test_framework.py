"""A framework in one file: a class with its declarations, and its place in the tuple of
recognisers."""

from __future__ import annotations

import re

import pytest

from receiver import semconv as sc
from receiver.attribution.claims import Begin, Bind, Claims, Role
from receiver.attribution.context import variable
from receiver.attribution.declared import declared
from receiver.attribution.frameworks import RECOGNISERS
from receiver.attribution.frameworks.base import HelperRole, Recogniser
from receiver.events import FileOpened, ProcessKey
from receiver.kernel.capture import KernelLimits, fill
from receiver.model import NOBODY, PROBABLE, Identity
from receiver.work.worker import Worker
from tests.builders import Story, attributes


class Weaver(Recogniser):
    name = "weaver"
    programs = frozenset({"weaver"})
    paths = ("/loom/",)
    environment = ("WEAVER_RUN",)
    binding = ("WEAVER_RUN",)
    packages = ("weaver_core",)
    ignored_paths = ("/opt/weaver/",)
    helpers = (HelperRole("weaver shuttle", ends_with=(7,)),)
    temporary_path = re.compile(r"\.weaving$")
    metadata_paths = ("/loom/",)
    attributes = (sc.PIPELINE_PROCESS_PART,)

    def image(self, process: Worker) -> Claims:
        if "shuttle" in process.argv:
            return (Role("weaver shuttle"),)
        run = variable(process.environ, "WEAVER_RUN")
        return (Bind(self._identity(run, "weave")),) if run else ()

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        if not event.path.endswith("/plan"):
            return ()
        process.remember(sc.PIPELINE_PROCESS_PART, event.path.rpartition("/")[2])
        return (Begin(self._identity("r1", "cloth", "model"), event.thread),)

    def _identity(self, run: str, task: str, kind: str = "job") -> Identity:
        return Identity(self.name, "cloth", run, task, type=kind, confidence=PROBABLE)


@pytest.fixture
def story() -> Story:
    return Story(recognisers=(Weaver(), *RECOGNISERS))


def weaver(story: Story) -> ProcessKey:
    return story.spawn(NOBODY, "weaver", "run", environ=("WEAVER_RUN=r1",))


class Maps:
    """Takes the place of the BPF object: what is written into each map."""

    def __init__(self) -> None:
        self.entries: dict[str, list[bytes]] = {}

    def update(self, name: str, key: bytes, value: bytes) -> None:
        self.entries.setdefault(name, []).append(key + value)


def test_the_kernel_half_gets_its_variables_packages_and_ignored_paths() -> None:
    capture = declared((Weaver(), *RECOGNISERS)).capture
    maps = Maps()
    fill(maps, capture, KernelLimits())  # type: ignore[arg-type]
    for name, text in (
        ("env_rules", b"WEAVER_RUN="),
        ("env_rule_list", b"WEAVER_RUN="),
        ("telling_packages", b"weaver_core\0"),
        ("noise_prefixes", b"/opt/weaver/\0"),
    ):
        assert any(text in entry for entry in maps.entries[name]), name
    assert capture.allow_list()("WEAVER_RUN=1")


def test_its_claims_bind_a_process(story: Story) -> None:
    story.exit(weaver(story), 0)
    story.finish()
    assert attributes(story.span("job weave"))[sc.PIPELINE_SYSTEM_NAME] == "weaver"


@pytest.mark.parametrize(("code", "failed"), [(7, False), (8, True)])
def test_its_helper_ends_as_it_declares(story: Story, code: int, failed: bool) -> None:
    main = weaver(story)
    shuttle = story.spawn(main, "weaver", "shuttle")
    story.exit(main, 0)
    story.exit(shuttle, code)
    story.finish()
    ended = next(s for s in story.spans if attributes(s)[sc.PROCESS_PID] == shuttle.tgid)
    assert attributes(ended)[sc.PIPELINE_PROCESS_ROLE] == "weaver shuttle"
    assert bool(ended.error) is failed


def test_its_temporary_file_is_committed_by_a_rename(story: Story) -> None:
    main = weaver(story)
    story.writes(main, "/data/cloth.weaving")
    story.renames(main, "/data/cloth.weaving", "/data/cloth")
    version = story.core.facts.versions.at("/data/cloth")
    assert version is not None and version.commit == "weaver"


def test_its_own_files_are_no_outputs_of_a_step(story: Story) -> None:
    main = weaver(story)
    story.opens(main, "/work/loom/plan", thread=41)  # its thread begins the step
    story.writes(main, "/work/loom/state", inode=8)
    story.writes(main, "/data/cloth", inode=9)
    story.exit(main, 0)
    story.finish()
    step = story.span("model cloth")
    assert attributes(step)[sc.PIPELINE_TASK_OUTPUTS] == ("/data/cloth",)


def test_its_attributes_are_on_the_span_of_the_process(story: Story) -> None:
    main = weaver(story)
    story.opens(main, "/work/loom/plan", thread=41)
    story.exit(main, 0)
    story.finish()
    own = next(s for s in story.spans if s.name == "weaver")
    assert attributes(own)[sc.PIPELINE_PROCESS_PART] == "plan"


@pytest.mark.parametrize("recogniser", RECOGNISERS, ids=lambda r: r.name)
def test_each_variable_that_a_recogniser_looks_at_is_read(recogniser: Recogniser) -> None:
    allowed = declared((recogniser,)).capture.allow_list()
    assert all(
        allowed(f"{v.removesuffix('=')}=x") or allowed(f"{v}X=x") for v in recogniser.variables
    )
    assert set(recogniser.binding) <= {n for n in recogniser.binding if allowed(f"{n}=x")}
