"""What the README shows runs, and what it names exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_and_is_short(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.strip().splitlines()) <= 14
    # The same lines with fewer steps: what is tested is that they work together.
    short = re.sub(r"total_timesteps=[\d_]+", "total_timesteps=1_200", example)
    assert short != example
    done = subprocess.run([sys.executable, "-c", short], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "counter.zip").is_file()


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
