"""The parts of docs/noise.md that stand around the results."""

from __future__ import annotations

INTRODUCTION = """\
# Who keeps the noise: signal, distractor and an exogenous bit

`jepa-rl paper noise` trains every row at every level, measures it and writes this page; `--render` remakes the page
and its figures from the [raw results]({raw}), `--quick` trains a few rows for half as long. A run that is finished is
not run again.

Beside the task, observations show something that has nothing to do with it. It has two knobs: its *variance*, as a
share of the squared range of values, and its *predictability*, the R^2 of the best linear prediction of its next value
from the present one. *Fresh* noise has 0, *half* predictable noise 0.5, and what is drawn once per episode and then
*frozen* has 1. The linear theory of [arXiv:2407.03475](https://arxiv.org/abs/2407.03475) ([linear.md]({linear})) sets
them apart: what cannot be predicted is never learned by a JEPA, however loud; what can be predicted is learned in an
order that it gives.

{short}

{state}

## What is trained and measured

{tasks}

The rows; a row differs from the first in what it says, and those that know fewer rewards also in the windows that
they draw:

{rows}

**Which windows are drawn.** Every row, whatever trains its encoder, draws {drawn:.0f} % of its windows for a reward that
they contain and that the reward task knows of. The rows without a label in the encoder draw them by all rewards: "no
label" is true of the gradients that reach the encoder, not of the images that it sees. A row that knows fewer rewards
draws the same share from fewer transitions: each comes {oftener}. Such a row differs from the first in how few labels it
has and in how often it sees the same few transitions, and this page cannot tell the two apart.

Every row has a reward head that the planner reads. In the rows without a label in the encoder it learns on detached
latents from all rewards, which is generous to them. A label fraction of 0 where a task has a weight is an error, so
that the row with 0 % of the labels is the dynamics alone. In MiniGrid a value and a termination head, detached too,
learn from every reward in every row, and the settings are those of the preset `minigrid` as it was before its values
counted what is new. L_dyn is divided by the variance of the latents (1 - R^2) unless the row says
otherwise. All data are of uniformly random actions: the rows of a seed learn from the same observations.

All figures are of the final weights, on {observations:,} observations of episodes that training never saw (in MiniGrid
without a distractor most of these look like one that it saw, and both halves of a probe hold the same ones): mean ± half
width of the 95 % interval (Student's t) over the seeds, from three seeds on.

- linear, MLP: probes fitted on one half of the observations and scored on the other; accuracy of classes, R^2 of the
  eight values of the distractor. Chance: {chance}; 0 for R^2
- noise: the linear probe of latents with white noise of so much of their spread (root mean square of the dimensions'
  standard deviations) in every dimension
- centroid: nearest-centroid accuracy, centroids from the other half
- share: ridge regression of the latents on a factor, fitted on one half; the share of the latents' variance, summed
  over dimensions, that it explains on the other. Classes enter one-hot and jointly, numbers with their squares and
  products, the symbols of MiniGrid's distractor one-hot. *signal* is all that control needs, *appearance* the colour,
  shape and mean position of the objects. The spread of that position follows the count, so that a latent of the count
  alone has 0.06 of appearance
- L_dyn / variance: of one step, on windows of the replay
- success: 200 episodes on held-out seeds; of the best plans, in MiniGrid of drawn ones. Random actions reach {random}
"""

LIMITS = """\
## Limits

- One distractor of eight values, shown beside the observation and not in it; two small tasks; {seeds}.
- The theory is of deep *linear* networks with an aligned predictor, without actions, EMA or heads. The factors are
  brought to its form by regressing observations on them under random actions ([prediction.py]({prediction})): of a
  factor that shows in nonlinear ways little is left. Its order is that at an initial weight of {scale:g}. At {others}
  the order of distractor and signal is {scales}.
- The weights of the losses are those that the rows name, not tuned per row; the runs are short.
- A label fraction thins the rewards that the encoder and its head know, and with them the transitions that {drawn:.0f} % of
  the windows are drawn from, for the dynamics as well. So a row with fewer labels being worse than *reward 0 %* does not
  show that few labels are worse than none. Uniformly drawn windows were not tried, in no row.
"""
