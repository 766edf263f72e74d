# SPDX-License-Identifier: GPL-2.0-only
"""The Jenkinsfile: Groovy by syntax, declarative by structure, and its shell steps do what they say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from orchestrator.matrix.load import load_plan
from orchestrator.matrix.names import names_of
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project
from orchestrator.runner.rundir import open_run
from tests.fakes.kernel_tree import make_kernel_tree
from tests.fakes.qemu.fixture import install
from tests.unit.cli_house import share_cache
from tests.unit.groovy import Call, calls_of, errors_in
from tests.unit.kernel_room import all_fragments

ROOT = Project().root
TEXT = (ROOT / "Jenkinsfile").read_text()
QUICK = "configs/quick.yaml"

# What a declarative pipeline may say in each of its sections (jenkins.io, Pipeline Syntax).
SECTIONS = {
    "pipeline": {"agent", "environment", "options", "parameters", "post", "stages", "tools", "triggers"},
    "stages": {"stage"},
    "stage": {"agent", "environment", "input", "matrix", "options", "parallel", "post", "stages", "steps", "when"},
    "matrix": {"agent", "axes", "environment", "excludes", "options", "post", "stages", "tools", "when"},
    "axes": {"axis"},
    "axis": {"name", "values"},
    "post": {"always", "changed", "cleanup", "failure", "fixed", "regression", "success", "unstable", "unsuccessful"},
    "parameters": {"booleanParam", "choice", "password", "string", "text"},
}


def pipeline() -> Call:
    (call,) = calls_of(TEXT)
    assert call.name == "pipeline"
    return call


def axes() -> dict[str, tuple[str, ...]]:
    (matrix,) = (call for call in pipeline().walk() if call.name == "matrix")
    return {axis.one("name").arguments[0]: axis.one("values").arguments for axis in matrix.one("axes").all("axis")}


def stage(name: str) -> Call:
    (call,) = (call for call in pipeline().walk() if call.name == "stage" and call.arguments == (name,))
    return call


def script_of(sh: Call) -> str:
    return sh.named.get("script") or sh.arguments[0]


def scripts(call: Call) -> list[str]:
    return [script_of(step) for step in call.walk() if step.name == "sh"]


def test_it_is_groovy() -> None:
    assert errors_in(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stages {", "stages "),
        ("agent none\n", "agent none }\n"),
        ("'make setup'", "'make setup"),
        ("time: 3,", "time: 3"),
        ("'x86_64', 'arm64'", "'x86_64' 'arm64',"),
        ("junit testResults:", "junit testResults::"),
    ],
)
def test_a_broken_one_is_noticed(old: str, new: str) -> None:
    assert old in TEXT
    assert errors_in(TEXT.replace(old, new, 1)) != []


def test_every_section_holds_what_a_declarative_pipeline_may_hold() -> None:
    for call in pipeline().walk():
        allowed = SECTIONS.get(call.name)
        if allowed and call.children:
            assert {child.name for child in call.children} <= allowed, call.name


def test_every_stage_does_one_thing_and_has_an_agent() -> None:
    assert pipeline().one("agent").arguments == ("none",)
    for outer in pipeline().one("stages").all("stage"):
        body = [child for child in outer.children if child.name in ("steps", "stages", "matrix", "parallel")]
        assert len(body) == 1
        assert outer.all("agent") or body[0].all("agent"), "no agent above it: this stage must name one"


def test_there_is_an_axis_for_every_architecture_and_every_flavour() -> None:
    assert set(axes()) == {"ARCH", "FLAVOUR"}
    assert set(axes()["ARCH"]) == set(Arch)
    assert set(axes()["FLAVOUR"]) == set(names_of(Project()).flavours)


def test_results_are_published_whatever_the_race_ends_with_and_the_workspace_is_cleaned() -> None:
    always = stage("Race").one("post").one("always")
    assert always.one("junit").named["testResults"] == "runs/*/*/junit.xml"
    assert "allowEmptyResults" not in always.one("junit").named, "a race without results must not pass"
    assert always.one("archiveArtifacts").named["artifacts"] == "runs/**"
    for call in pipeline().walk():
        if call.all("agent") and call.name != "pipeline":
            assert call.one("post").one("cleanup").all("deleteDir")


def test_builds_end_by_themselves_and_can_be_given_a_matrix_and_seconds() -> None:
    options = {call.name for call in pipeline().one("options").children}
    assert {"timeout", "timestamps", "disableConcurrentBuilds"} <= options
    names = {call.named["name"] for call in pipeline().one("parameters").children}
    assert names == {"MATRIX", "RACE_SECONDS"}


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_every_shell_step_is_shell(shell: str) -> None:
    found = scripts(pipeline())
    assert len(found) >= 5
    for script in found:
        checked = subprocess.run([shell, "-n"], input=script.encode(), capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, b""), script


def test_what_groovy_would_rewrite_is_refused_as_a_shell_step() -> None:
    for step in ('sh "echo ${params.MATRIX}"', r"sh 'a \\ b'"):
        with pytest.raises(ValueError, match="not what the shell sees"):
            calls_of(step)


@dataclass(frozen=True, slots=True)
class Agent:
    """A workspace as Jenkins gives it to a step: the checkout, and the parameters in the environment."""

    workspace: Path
    environment: dict[str, str]

    def step(self, script: str, **values: str) -> subprocess.CompletedProcess[str]:
        """Run a `sh` step as Jenkins does: `sh -xe` on a file, in the workspace."""
        file = self.workspace.parent / "script.sh"
        file.write_text(script)
        environment = self.environment | values
        return subprocess.run(
            ["sh", "-xe", str(file)], cwd=self.workspace, env=environment, capture_output=True, text=True, check=False
        )


GUPRACE = """\
#!/bin/sh
echo "$@" >> '{log}'
PYTHONPATH='{workspace}' exec '{python}' -m orchestrator "$@"
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    """Give a checkout of the working tree whose set-up is done: nothing to install, guests are the fake QEMU's."""
    base = tmp_path_factory.mktemp("jenkins")
    workspace = base / "workspace"
    checkout(workspace)
    tools = base / "tools"
    write_script(workspace / ".venv/bin/guprace", GUPRACE, base / "log", workspace)
    write_script(workspace / ".venv/bin/pip", "#!/bin/sh\nexit 1\n", base / "log", workspace)
    (workspace / ".venv/.ready").touch()
    for name in ("apt-get", "sudo"):
        write_script(tools / name, "#!/bin/sh\nexit 0\n", base / "log", workspace)
    parameters = {call.named["name"]: call.named["defaultValue"] for call in pipeline().one("parameters").children}
    share_cache(base / "cache")
    install(tools)
    places = {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(base), "GUPRACE_CACHE": str(base / "cache")}
    return Agent(workspace, parameters | places)


def checkout(workspace: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says what Jenkins would check out")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (workspace / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, workspace / name)


def write_script(path: Path, text: str, log: Path, workspace: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        text.replace("{log}", str(log)).replace("{workspace}", str(workspace)).replace("{python}", sys.executable)
    )
    path.chmod(0o755)


def test_the_steps_of_the_check_pass_and_stop_at_a_wrong_matrix(agent: Agent) -> None:
    for script in scripts(stage("Check")):
        done = agent.step(script)
        assert done.returncode == 0, done.stderr
    (agent.workspace / "wrong.yaml").write_text("nmae: x\n")
    last = agent.step(scripts(stage("Check"))[-1], MATRIX="wrong.yaml")
    assert last.returncode == 2
    assert "unknown key 'nmae' (wrong.yaml:1:1); did you mean 'name'?" in last.stderr


def test_the_jenkins_cells_race_every_lane_of_the_matrix_once_and_skip_the_others(agent: Agent) -> None:
    plan = load_plan(ROOT / QUICK, Project())
    lanes = {(cell.kernel.arch.value, cell.kernel.flavour) for cell in plan.cells}
    (when,) = scripts(stage("Race").one("when"))
    assert f"{when}') != 2" in TEXT, "only 'no such lane' may skip a race"
    listed: list[str] = []
    for arch, flavour in product(*axes().values()):
        done = agent.step(when, ARCH=arch, FLAVOUR=flavour)
        assert done.returncode == (0 if (arch, flavour) in lanes else 2), done.stderr
        listed += [line.split()[0] for line in done.stdout.splitlines()]
    assert sorted(listed) == sorted(cell.id for cell in plan.cells)


def test_the_race_takes_the_parameters_as_they_are_and_its_lane_alone(agent: Agent) -> None:
    tree = make_kernel_tree(agent.workspace / "linux", all_fragments(), Project().mutants / "M01-6.1.patch")
    matrix = f"""\
name: fake
kernels: {{"6.1": {{tree: {tree.name}}}}}
lanes: [{{kernel: "6.1", arch: [x86_64, arm64], flavour: [plain, kcsan]}}]
scenarios: pin_vs_munmap
controls: [{{mutant: M01, kernel: "6.1", arch: arm64, flavour: plain, scenario: pin_vs_munmap}}]
guest: {{accel: tcg}}
"""
    (agent.workspace / "a b.yaml").write_text(matrix)
    (race,) = scripts(stage("Race").one("steps"))
    axis = {"ARCH": "arm64", "FLAVOUR": "plain", "MATRIX": "a b.yaml"}
    done = agent.step(race, RACE_SECONDS="2.5", **axis)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (agent.workspace / "runs/arm64-plain").iterdir()
    results = open_run(run).results()
    assert {r.record.cell.id: r.verdict and str(r.verdict.outcome) for r in results} == {
        "6.1/arm64/plain/pin_vs_munmap": "PASS",
        "6.1+M01/arm64/plain/pin_vs_munmap": "CAUGHT",
    }
    assert {r.record.cell.race.seconds for r in results} == {2.5}
    # What the post section publishes.
    assert list(agent.workspace.glob("runs/*/*/junit.xml"))
    assert agent.step(race, RACE_SECONDS="soon", **axis).returncode == 2
