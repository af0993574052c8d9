"""The text of docs/counting.md around its figures; prose.py fills them in."""

from __future__ import annotations

TEMPLATE = """\
# What anchors a JEPA representation: the counting study

Source: [arXiv:2509.12249](https://arxiv.org/abs/2509.12249), *Why and How Auxiliary Tasks Improve JEPA
Representations*. `jepa-rl paper counting` trains every row, measures it and writes this page; `--render` remakes the
page and its figures from the [raw results]({raw}), `--quick` trains three rows for half as long. A run
that is finished is not run again.

**In short.** Trained together, reward and dynamics tell the nine counts apart: accuracy {acc[reward]}, success
{success[reward]}. The reward alone reaches {acc[reward-only]}, but success {success[reward-only]}. Dynamics alone collapse
under the paper's plain L_dyn ({acc[plain-dynamics-only]}); under ours, divided by the variance, they need not, and whether
the count wins depends on the seed ({acc[dynamics-only]}). The paper's own protocol, cut to a CPU, does not get there
({acc[paper]}). One environment; where a row has no label in the encoder, its windows are still drawn by the reward.

An agent sees 64x64 images of 0 to 8 objects and adds or removes one at a time; it is rewarded at {target} objects.
Nobody tells it a count. The theorem: if latent dynamics and auxiliary task are both learned exactly, observations
that some common action sequence leads to different labels cannot share a latent. Partition refinement on the exact
table says which counts that are: for a reward at any one count, all nine; with a constant label, none.

Every row has one and the same setting: the counting preset's encoder, uniform random actions (so that all rows of a
seed learn from the same images), {updates:,} updates of 16 two-step windows, L_dyn divided by the variance of the
latents (1 - R^2), one auxiliary loss with c_p = 1. The encoder's loss is c_dyn L_dyn + c_p L_p with c_dyn = {c_dyn:g}
({heavy}). In every row {drawn:.0f} % of the windows are drawn for a reward that they contain, also where no
label trains the encoder: "without a label" is true of the gradients, not of which images are seen. A row changes only what
the list says. All figures are of the
final weights on images that training never saw: mean ± half width of the 95 % interval (Student's t) over {seeds}
seeds; fewer than three seeds have no interval.
{seeds_overlap}

{state}

{rows_list}

## Results

{rows}

- accuracy: nearest centroid, centroids from the other half of 2,000 images, both ways averaged; chance is 0.11
- ARI: adjusted Rand index of k-means with nine clusters, and with as many clusters as the row's own label and
  dynamics must tell apart, against those classes, where they are more than one; clusters found: chosen without labels,
  by the silhouette
- separation: smallest distance of two centroids over the mean cluster radius
- effective rank is of centred latents, RankMe of raw ones
- *collapsed*: RankMe below {collapsed_rank:g} and a variance below {collapsed_variance:g}, so that all latents are nearly
  one vector. The encoder computes in bfloat16, whose steps are up to 1/128 of a number: the spread of such latents is
  probably mostly rounding, and so would be their effective rank, L_dyn / variance and e_T / distance, which are left out
- L_p is given above its floor, the entropy of its label
- in-sample accuracy is the reference's figure, on 256 encodings that made the centroids themselves: it flatters, and
  most where the representation is worst
- success: 200 episodes on held-out seeds, planning eight steps ahead with the row's own reward head; the same for
  every run, so that intervals leave out the choice of episodes

![Accuracy and ARI of every run](figures/counting/seeds.png)

Every dot is a run. Where the dots of a row lie in two groups its mean and interval describe neither.

![Rows 1 to {half}: principal plane, distances of counts, reconstructions](figures/counting/representations-1.png)

![The other rows, drawn alike](figures/counting/representations-2.png)

Seed 0 of each row, after the paper's figure: latents in their two principal directions (a number stands at the median of
its count, or is joined to it by a line where several would cover each other), distances between the nine
centroids (bright is far), and one held-out image per count above what a decoder draws from its latent.

## What agrees with the paper, and what does not

**The reward and the dynamics together make nine clusters.** Accuracy {acc[reward]}, ARI {ari[reward]}. Of what the
images hold besides the count, hardly anything is left: linear probes read position with R^2 {position[reward]}, colour with
{color[reward]}, shape with accuracy {shape[reward]} (chance {shape_chance}).

**It is the dynamics that drop the rest, where both branches of L_dyn are trained.** With the reward alone position stays
readable (R^2 {position[reward-only]}), and so it does with an EMA target (the EMA row below). Positions are redrawn at
every step, so that no dynamics can predict them; colour and shape could be kept, and the theorem does not ask to drop
them.

**Reward alone gets far at target {target}**: {acc[reward-only]}, against {acc[reward]} with the dynamics, at the same
learning rate. To tell 4 from 3 and 5 the encoder has to count anyway. The sharp test is below. Control needs the
dynamics all the same: success {success[reward-only]} against {success[reward]}.

**Dynamics alone collapse, if L_dyn is the paper's.** Without the division by the variance the latents of the rows
without an auxiliary shrink to a point: accuracy {acc[plain-dynamics-only]} without, {acc[plain-constant]} with a
constant label, {acc[plain-shuffled]} with shuffled ones, against {acc[plain-reward]} with the reward. This is the
paper's result, and its reason.

**Divided by the variance they do not.** 1 - R^2 is not lowered by shrinking; it is lowered by latents that can be
predicted. Two things in these images can be: the count, from the action, and what stays the same in an episode, colour
and shape.
{kept}
Without a label that asks for the count, the two compete: dynamics only {acc[dynamics-only]}, constant
label {acc[constant]}, shuffled rewards {acc[shuffled]}. So in our own objective the auxiliary is not what prevents the
collapse. What the reward adds is that the count wins in every run: {acc[reward]}. Nothing in the theorem speaks against
it: it says what a well-trained model must keep apart, not what it may.

**A random target organises the latent less, not by something else.** Accuracy {acc[random-linear]} with 256 random
linear functions of the pixels and {acc[random-network]} with a random network; position (R^2
{position[random-linear]} and {position[random-network]}), shape and colour stay readable, as the paper says. The
premise fails there: positions cannot be predicted, so that L_dyn and L_p cannot both reach zero.

**Without the action the mirror counts do not merge.** Partition refinement on unlabelled successors gives five
classes, k and 8 - k together. Accuracy over nine counts is {acc[action-free]}, over the five classes
{mirrored[action-free]}: the encoder puts the counts on a line. It may: the theorem forces apart, it does not merge.
And its premise cannot hold. With no action to look at, T(E(o)) can only be right if both successors share a latent,
which through the bounds would merge all counts, against the reward. What is left is the best compromise, and a line
is one: the mean of k - 1 and k + 1 is k, so that the step ahead is predicted with the smallest error for its spread.
Planning without the action does what one constant action does: {success[action-free]} (random ones 0.33).

**The target branch matters.** With a stopped gradient or an EMA target: {acc[stop-gradient]} and {acc[ema]}. Two things
change there at once: the variance that L_dyn is divided by is the target's, too, and has no gradient, so that nothing
keeps the scale of the latents.

**Variance penalties instead of an auxiliary** (VICReg {acc[vicreg]}, SIGReg {acc[sigreg]}) keep the latent from
shrinking, and fill it with whatever varies: effective rank {rank[vicreg]} and {rank[sigreg]} where the reward row
needs {rank[reward]}.

**One after the other is not together.** Dynamics for the first half, then reward: {acc[separate]}, success
{success[separate]}.

**The paper's own protocol does not get there at this size**: {acc[paper]} after {updates:,} updates of 24
transitions, where the reference spends 300,000 of 256. What deviates from it: three convolutions instead of a ResNet
with 12.3 M parameters; two discrete actions instead of the sign of a scalar; 10 % of its images per update and 3 % of
its updates. Its labels (of o_t only), two-hot head, repeated random actions, learning rates, plain L_dyn, one-step
windows and unnormalised images are kept. As in every row, the encoder computes in bfloat16, gradients are clipped at 10,
and {drawn:.0f} % of the windows are drawn for a reward: with one-step windows and labels of o_t alone these show the
observation before the reward, whose label is 0, so that here it thins the positives that it adds elsewhere.

## What is in the latent, factor by factor

Probes on frozen latents, fitted on one half of the images and scored on the other: accuracy for count and shape, R^2
for mean position and colour.

{probes}

Error of what can be read from a decoder's drawings, relative to knowing nothing (0: exact, 1: nothing known):

{decoder}

## The sharp test: how far a distinction travels

At target {target} the label itself asks for counting. At 0 it only asks "empty?", at 8 "full?": every other
distinction has to come through the dynamics, one refinement step at a time.

{targets}

{sharp}

![Accuracy and separation against the target](figures/counting/targets.png)

![Distance of pairs of counts against the depth at which they separate](figures/counting/depths.png)

Each mark of the second figure is a pair of counts in one run: the distance of their centroids over the mean cluster
radius, against the number of actions after which the reward first tells them apart. Diamonds are neighbouring counts,
dots all others.

What makes it travel further: the joint row at target {far}, with one thing changed.

{travel}

The changed rows have one seed each, and the first line's interval is of the mean of five: a single run of it would lie
anywhere between {once} (95 % prediction interval), and differences within that say nothing.

## The weight of the auxiliary

{weights}

{weighed}

![Accuracy, effective rank and success against c_p](figures/counting/weights.png)

## Do the two losses pull the same way?

![Cosine of the two gradients over training](figures/counting/alignment.png)

The cosine between the gradients of L_dyn and L_p on the encoder, both unweighted: mean and 95 % interval over seeds, of
the first and of the second half of up to 16 moments of training, which are spaced evenly in the logarithm of the
updates. Each is a single batch of 256 windows, whose cosine swings far from one moment to the next.

## The certificate

The theorem's quantitative form, derived here: with errors e_p of the head and e_T of the dynamics, and Lipschitz
constants K_P and K_T, two observations whose labels first differ by D after n common actions are at least [(D - 2
e_p)/K_P - 2 e_T (K_T^n - 1)/(K_T - 1)] / K_T^n apart. The constants are estimated from below on samples, so that this
is a check of the theory and no proof. Merged are pairs of counts whose centroids are closer than a tenth of the mean
distance of different counts, or closer than their own clusters are wide; merged observations are pairs of images of
different counts at less than that tenth.

{certificate}

{merged}

The bounds by depth, with mean errors, of seed 0 of the reward row, beside the smallest distance of centroids:

{bounds}

{reach}

{coinciding}

## What the theorem does not explain

- That nine clusters form at all: every image is unique, and the relation that the finite data force covers few pairs
  of images. The clusters rest on generalisation over appearance.
- That colour and shape go, which the dynamics would permit to stay.
- How soon a distinction far from the label appears, or in which order.

## The quick run

`jepa-rl paper counting --quick` trains three rows for half as long, with seed 0. What it should show: mean, and
smallest to largest, over {quick_seeds} seeds. Where the processor rounds as the one that these were made on, it gives
what the raw results of seed 0 say; elsewhere it is one more draw.

{quick}
"""
