"""What stands around the results of docs/alignment.md."""

from __future__ import annotations

TEMPLATE = """\
# Does the angle of two gradients tell which auxiliary task helps?

`jepa-rl paper alignment` trains every run, measures it and writes this page; `--render` remakes page and figures from
the [raw results](results/alignment), `--quick` trains six of the runs. What `jepa-rl advise` says of a run rests on
this page.

A common claim: an auxiliary task helps a JEPA where its gradient agrees with that of the latent dynamics, and harms
where the two conflict. Here {number} auxiliaries, from well aligned to pure noise, are added to the dynamics of the
[counting study](counting.md), and three questions are asked. {state}

## Answers

{foretells}

{harms}

{weighs}

## Setting

The counting environment, the network and the random actions are those of the counting study, so that every run of a
seed learns from the same images; {updates:,} updates instead of 9,310, and what is called final is after that many.
The loss of the encoder is {c_dyn:g} L_dyn + c_p L_p, summed over the auxiliaries. In every run {rewarded:.0f} % of the
windows are drawn for a reward that they contain, also where no label trains the encoder: what the encoder sees depends on
the reward everywhere. Each auxiliary is added to three bases:

- **alone, plain L_dyn**: the paper's loss, under which dynamics alone collapse to a point. What an auxiliary gains
  here is what it saves from the collapse. There is little to lose.
- **alone, scale-free L_dyn**: divided by the variance of the latents, as in the `counting` preset. Dynamics alone
  need not collapse, so that an auxiliary can help and harm.
- **beside the reward, scale-free L_dyn**: what the `counting` preset trains on. The reward, with weight 1, keeps the
  representation, and there is something to lose.

Two losses, because they differ in what their gradient is: shrinking all latents lowers the plain loss, so that in part
its gradient opposes whatever tells observations apart. The scale-free one does not change when latents are scaled.

{bases}

- cosine: between the gradients of L_dyn and of the auxiliary on all of the encoder's weights, both unweighted. Early
  is from {early} % of the updates, late from {late} %: in each phase {looks} moments, at each a new batch of {windows}
  held-out windows, and their mean. A single one says little: between two moments of the same early phase a cosine
  swings with a standard deviation of {swing:.2f}.
- before it is added: the early cosine in a run whose encoder the auxiliary does not train, only its head. That is all
  one can know before trying.
- share: of the auxiliary in c_p |g|, summed over all losses that train the encoder, early
- accuracy: nearest centroid of the count, centroids from the other half of {images:,} held-out images; chance is 0.11
- linear probe: linear discriminants of the count, which also read a count that has a cluster for each shape
- success: {episodes} held-out episodes, with the planner on the learned dynamics and reward head
- mean ± half width of the 95 % interval over runs (Student's t): seeds of each {seeds}, of the bases {base_seeds}. The
  interval of a cosine is over the runs of all weights. What an auxiliary gains or harms is told from the base's runs of
  the same seeds only ({shared} of them).

The auxiliaries; numbers have mean 0 and standard deviation 1, so that a weight means about the same for all:

{auxiliaries}

## Alignment and gain

![Cosines of every auxiliary, and what it gained against the early one](figures/alignment/prediction.png)

The gain is what a run has more than the base's run of the same seed, averaged over weights; its interval is over the
seeds that both have. Below stands Spearman's rank correlation over auxiliaries, of the cosine with the mean gain, with a
95 % bootstrap interval that draws auxiliaries. The first column of figures for the early cosine is
the question of this page; the others are there to look at, and some of so many will leave out 0 by chance.

{correlations}

The late cosine is no prediction: by then the task has done what it does.

{gains}

## Weights

![Accuracy against the weight](figures/alignment/weights.png)

Means over seeds, with dots for the seeds; dotted: the bases without an auxiliary, over the seeds that both have.

### {name_plain}

Under each weight: accuracy, and the auxiliary's share of the gradient.

{cosines_plain}

### {name_free}

{cosines_free}

### {name_beside}

{cosines_beside}

### Harm

An auxiliary harms at a weight where each of its runs is below each run of the base with the same seeds and the mean is
lower by at least {least_drop:g}. If it did nothing, {shared} runs would all be below {shared} others in one of {chance}
cases: of the {judged} pairs of auxiliary and weight in this section at most about {lucky:.0f} would be called harm by
luck. A single weight may be luck, several in a row hardly. Alone with the plain L_dyn there is nothing to lose, and
nothing is counted.

{harm}

### Two at once

Neither is the reward; plain L_dyn, weight 1 each.

{pairs}

### Weights that are found

Beside the reward, scale-free L_dyn. `uncertainty` (arXiv:1705.07115) learns the weights, `pcgrad` (arXiv:2001.06782)
takes from each gradient what opposes another; both begin at weight 1. The fixed weight is the best of {tried}, chosen
after the fact on the same runs, which flatters it.

{weighting}

![Accuracy with the best fixed and with automatic weights](figures/alignment/weighting.png)

## What this cannot support

- One environment, in which the dynamics can keep exactly one thing that the tasks ask for, the count. Another
  environment may rank the auxiliaries otherwise.
- {number} auxiliaries: an interval of a rank correlation over so few is wide, and no interval that holds 0 says that
  there is no relation.
- One network, optimiser and budget. An auxiliary that only speeds learning up gains here, and might not after longer
  training.
- An L_dyn whose target is stopped or an EMA copy was not tried, nor masked latent prediction, a regulariser, or a value or
  termination head that trains the encoder. There `jepa-rl advise` suggests nothing from this page.
- Three seeds of each auxiliary. A base alone can fail where none of them shows it.
- The cosine is that of whole gradients on all of the encoder's weights. Two losses can agree in one layer and conflict
  in another.
"""
