"""What the pages show runs, and what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Pages whose python blocks are run, one after the other in one process; with the steps that are trained for: what is tested
# is that the lines work together.
PAGES = {"README.md": 1_200, "docs/sb3.md": 300, "docs/parts.md": 300}
RUN_ELSEWHERE = {"docs/own_environment.md", "docs/auxiliary_tasks.md"}  # by tests of their own


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page, tmp_path):
    whole = "\n".join(python_blocks(page))
    short = re.sub(r"total_timesteps=[\d_]+", f"total_timesteps={PAGES[page]}", whole)
    short = re.sub(r"n_eval_episodes=\d+", "n_eval_episodes=2", short)
    assert short != whole
    # One thread, as conftest.py gives every test: threads of several tests that wait for each other's cores take minutes.
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", short], cwd=tmp_path, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    for saved in re.findall(r"\.save\(\"(\w+)\"", whole):
        assert (tmp_path / f"{saved}.zip").is_file()


def test_the_example_of_the_readme_is_short():
    (example,) = python_blocks("README.md")
    assert len(example.strip().splitlines()) <= 14


def test_every_page_with_python_is_run():
    pages = ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
    assert {page for page in pages if python_blocks(page)} == {*PAGES, *RUN_ELSEWHERE}


def test_the_task_of_ten_lines_runs_and_is_that_short(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/auxiliary_tasks.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 10
    short = re.sub(r"total_timesteps=[\d_]+", "total_timesteps=1_200", example)
    assert short != example
    shown = "assert agent.replay.sample(50, 1, agent.streams.replay).targets['parity'].unique().tolist() == [0, 1]"
    done = subprocess.run([sys.executable, "-c", short + shown], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "document", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_every_link_to_a_file_leads_somewhere(document):
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text) + re.findall(r'src="(?!https?://)([^"]+)"', text)
    missing = [target for target in targets if not ((ROOT / document).parent / target).exists()]
    assert not missing
