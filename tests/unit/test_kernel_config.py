# SPDX-License-Identifier: GPL-2.0-only
"""Fragments and the reading of Kconfig."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.kernel import fragments, kconfig
from orchestrator.matrix.plan import Fragment
from orchestrator.paths import Project

KCONFIG = """\
mainmenu "test"

config NUMA
\tbool "NUMA"
\tdepends on SMP && (X86_64 || ARM64) # a comment
\thelp
\t  config NOT_A_SYMBOL
\t  depends on NOTHING

menu "deeper"
\tdepends on MMU

if EXPERT
config DEEP
\ttristate "deep"
\tdepends on \\
\t\tNUMA
endif
endmenu

config HIDDEN
\tdef_bool n

config CHOSEN
\tbool "chosen"
\tselect HIDDEN

source "arch/$(SRCARCH)/Kconfig"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "Kconfig").write_text(KCONFIG)
    (tmp_path / "arch/arm64").mkdir(parents=True)
    (tmp_path / "arch/arm64/Kconfig").write_text(
        'config ARM64\n\tdef_bool y\nconfig LEVELS\n\tint "l"\n\tdepends on SIZE >= 48\n'
    )
    return tmp_path


def fragment(path: Path, text: str) -> Fragment:
    path.write_text(text)
    return Fragment(path, path.stem)


def test_fragments_that_disagree_are_an_error_naming_both_lines(tmp_path: Path) -> None:
    a = fragment(tmp_path / "a.config", "CONFIG_KSM=y\n")
    b = fragment(tmp_path / "b.config", "# why\n# CONFIG_KSM is not set\n")
    with pytest.raises(UsageError, match=r"CONFIG_KSM: y by .*a\.config:1, n by .*b\.config:2"):
        fragments.merge((a, b))


def test_fragments_may_repeat_each_other(tmp_path: Path) -> None:
    a = fragment(tmp_path / "a.config", "CONFIG_KSM=y\n")
    b = fragment(tmp_path / "b.config", "CONFIG_KSM=y\nCONFIG_SWAP=y\n")
    assert fragments.render(fragments.merge((a, b))) == "CONFIG_KSM=y\nCONFIG_SWAP=y\n"


@pytest.mark.parametrize("line", ["CONFIG_X y", "X=y", "CONFIG_X=y #? if lucky"])
def test_a_line_that_is_no_assignment_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"a\.config:2"):
        fragments.merge((fragment(tmp_path / "a.config", f"CONFIG_A=y\n{line}\n"),))


def test_an_option_marked_if_known_is_required_only_where_it_exists(tmp_path: Path) -> None:
    settings = fragments.merge((fragment(tmp_path / "a.config", "CONFIG_NEW=y  #? if known\nCONFIG_OLD=y\n"),))
    assert [s.symbol for s in fragments.required(settings, {"OLD"})] == ["OLD"]
    assert [s.symbol for s in fragments.required(settings, {"OLD", "NEW"})] == ["NEW", "OLD"]


def test_what_olddefconfig_changed_is_found(tmp_path: Path) -> None:
    text = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x"\nCONFIG_D=m\n'
    settings = fragments.merge((fragment(tmp_path / "a.config", text),))
    config = fragments.read_config('CONFIG_A=y\nCONFIG_B=y\nCONFIG_C="x"\n# CONFIG_D is not set\n')
    assert [s.symbol for s in fragments.lost(settings, config)] == ["B", "D"]


def test_help_texts_are_not_read_as_statements(tree: Path) -> None:
    assert "NOT_A_SYMBOL" not in kconfig.read_tree(tree, "arm64")


@pytest.mark.parametrize(
    ("name", "config", "told"),
    [
        ("NUMA", {"ARM64": "y"}, "depends on SMP (unmet)"),
        ("NUMA", {"SMP": "y"}, "depends on X86_64 || ARM64 (unmet)"),
        ("DEEP", {"SMP": "y", "ARM64": "y"}, "MMU (unmet) and EXPERT (unmet) and NUMA (unmet)"),
        ("HIDDEN", {}, "only set by CHOSEN"),
        ("NOWHERE", {}, "does not know it"),
        ("LEVELS", {"SIZE": "39"}, "SIZE >= 48 (unmet)"),
        ("LEVELS", {"SIZE": "48"}, "choice, or its range"),
    ],
)
def test_the_unmet_dependency_is_told(tree: Path, name: str, config: dict[str, str], told: str) -> None:
    assert told.strip("()") in kconfig.why_lost(name, kconfig.read_tree(tree, "arm64"), config).replace(
        "(X", "X"
    ).replace("4)", "4")


@pytest.mark.parametrize(
    ("expression", "true"),
    [
        ("A", True),
        ("!A", False),
        ("B", False),
        ("A && !B || B", True),
        ("(A || B) && M", True),
        ('S = "text"', True),
        ("A != n", True),
        ("N > 10", True),
        ("N <= 10", False),
        ("$(cc-option,-fx) && A", True),
        ("A=y", True),
    ],
)
def test_expressions_are_evaluated_as_conf_does(expression: str, true: bool) -> None:
    config = {"A": "y", "M": "m", "S": '"text"', "N": "12"}
    assert kconfig.evaluate(expression, config) is true


def test_no_fragment_of_the_project_contradicts_another() -> None:
    root = Project().fragments
    for arch in ("x86_64", "arm64"):
        for flavour in ("plain", "debug", "kasan", "kcsan"):
            parts = [Fragment(root / f"{name}.config", name) for name in ("base", arch, flavour)]
            assert fragments.merge(parts)
