"""The texts of the benchmark's page, for the figures to be filled in."""

TEMPLATE = """\
# {title}

`{command}` trains {compared} on every task with every seed, evaluates it along the way and
writes this page; `--render` remakes the page and its figures from the [raw curves]({raw}){quick}. A run that is
finished is not run again.

{state}{before}

{findings}

![Sampled success against environment steps](figures/{page}/sampled.png)

{bands}

## Environment steps until a success rate holds

{steps}

A level holds from the first of {hold} evaluations in a row whose sampled (in the last column greedy) success reaches it;
a rate is known only where an evaluation was ({intervals}). Means over seeds, the seeds in
brackets; "2 of 3" is how many of them got there, and the mean is theirs; "never" gives the budget.

## Seconds of training until it holds

{seconds}

{clock}

{over_tasks}## At the end of the budget

{end}

The last evaluation: means over seeds, the seeds in brackets{single}.
A greedy episode *looped* if it ran into the step limit without reaching a new state in the second half of it.

![Greedy success against environment steps](figures/{page}/greedy.png)

## What it costs

{cost}

Peak MB is the largest resident memory of the process, with Python and PyTorch in it; in these runs it may be that of
the process which started it, where that was larger.

## How it is measured

- **Tasks**: default actions and step limits; success and return are by MiniGrid's own reward. Success is an episode
  that ends with a positive reward: lava and collisions end episodes without one, step limits cut them off.
- **Observation**: {observation}
{budgets}- **Evaluation**: {episodes} episodes per point and way of acting, through `predict`, one code path for all. Their
  seeds are never training's; they are the same for every algorithm and at every point of a run.{layouts}
- **Seeds**: {seeds}
{choice}{sampled}{baselines}{jepa}"""

BEFORE = """

{these} had been run with the preset before (`{options}`, [raw curves]({raw})) when it was changed. With that one, on
the same held-out episodes, the last {hold} evaluations had {success}. The change was made for the sake of FourRooms,
and options that were tried out on Unlock were not taken; but these figures were known. {others}"""

OVER_TASKS = """\
## Over tasks

{overall}

Success is sampled success: at the end, the mean of a run's last {hold} evaluations; over the steps that all have, the
mean of the evaluations within the smallest budget, which rewards learning soon and is rough: an algorithm that is
evaluated seldom has few of them, and late ones. IQM is the mean without the lowest and the highest quarter of all
runs, rounded down, on the tasks that all algorithms have; none with fewer than four runs. Each run counts once, so
that a task with more seeds counts more. Intervals: 95 %, from {resamples:,} bootstrap samples that draw seeds within
each task; none with fewer than {min_seeds} seeds, where they would be too narrow by far, and none where all samples
agree. From few seeds they are still too narrow.
{chance}
"""
CHANCE = """\
P is the chance that a run of the one beats a run of the other on the same task, mean over the tasks that both have, ties
counting half ([arXiv:2108.13264](https://arxiv.org/abs/2108.13264)).
"""
BUDGETS = """\
- **Budgets**: those of the algorithms may differ, since a step of JEPA takes as long as many of theirs: see the seconds
  above. Where ours is shorter, a level that was reached late in the baselines' budgets was out of reach in ours.
"""
SAMPLED = """\
- **Sampled** is the policy as it acts without extra random actions: PPO's distribution, JEPA's draw among good plans,
  and DQN with its final {epsilon:.0f} % of random actions, without which it has nothing to draw; where a wrong step ends
  the episode, beside obstacles or lava, these cost it successes that it has greedily. **Greedy** is the most
  probable action, the best plan, the highest value.
"""
SAMPLED_ALONE = """\
- **Sampled** draws among good plans, as in training but without extra random actions; **greedy** takes the best plan.
"""
BASELINES = """\
- **PPO** (Stable-Baselines3): {ppo}. Three 2x2 convolutions over the one-hot cells.
- **DQN** (Stable-Baselines3, {n_steps}-step returns): {dqn}. The schedule of random actions is the same on every
  task.
- **What ours has and they do not**: a memory of the episode, in evaluation too, while they see one observation at a
  time; and it learns from the sign of the reward and a bonus for what is new, they from MiniGrid's reward alone.
"""
CHOSEN_HERE = """\
- **Choice of settings**: our presets were chosen by runs on the benchmark's tasks, seeds 0 to 2 among them, with the
  same held-out episodes, so that their figures flatter them somewhat{theirs}.
"""
CHOSEN_ELSEWHERE = """\
- **Choice of settings**: our preset was chosen on other tasks ([minigrid.md](minigrid.md)){known}{theirs}.
"""
SYMBOLS = """the egocentric symbolic view (7x7 cells with object, colour and state) and the agent's direction{theirs}."""
THEIR_SYMBOLS = """,
  the same for all. The baselines get it one-hot, 984 numbers"""
PIXELS = """the egocentric view drawn in tiles of 8 pixels, RGB [56, 56, 3]; the direction is not shown."""
