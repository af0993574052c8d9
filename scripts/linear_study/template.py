"""The words of docs/linear.md; page.py fills in the numbers."""

TEMPLATE = """\
# Deep linear JEPA and MAE: which feature is learned first

Source: [arXiv:2407.03475](https://arxiv.org/abs/2407.03475), *How JEPA Avoids Noisy Features*. {command} remakes
every number and figure of this page, in {seconds} s on one core; with `--render` it only redraws them from the [raw
results]({raw}). The mathematics is in [world_model/linear.py]({root}world_model/linear.py) and
[world_model/linear_flow.py]({root}world_model/linear_flow.py).

The paper's formulas are reconstructed from public summaries, not quoted from it, and checked here against the integrated
equations.

## Setting

An encoder of L linear layers, W = W^L ... W^1, and a linear predictor V learn by gradient flow from pairs (x, y):

    JEPA  1/2 E || V W x - SG(W y) ||^2        MAE  1/2 E || V W x - y ||^2        SG: not differentiated

The features of the data are uncorrelated. Feature i has a covariance lambda = cov(y_i, x_i) and an *influence* rho =
lambda / var(x_i), its regression coefficient: noise in x lowers rho and leaves lambda as it is. Every layer starts as
eps^(1/L) times an orthogonal matrix, and V aligned with them. Then the features never mix, and the weight w of each
follows an ODE:

    JEPA  dw/dt = lambda w^(3-1/L) - (lambda/rho) w^3,  ends at rho^L
    MAE   dw/dt = lambda w^(2-1/L) - (lambda/rho) w^3,  ends at rho^(L/(L+1))

Time is the paper's: L times that of plain gradient flow. A feature counts as learned when w reaches p = {fraction:g}
of where it ends. The full matrix flow of three features at depths {flow_depths} agrees with the ODEs to {flow_error}
in every entry of W, at every recorded time (flow.csv).

## Learning curves

![{learning_alt}]({figures}/learning.png)

The families of the paper's Figure 2, with values of ours: L = {panel_depth}, eps = {panel_scale}, weights as
shares of where they end. Darker
curves have the larger lambda in the left and right panels, the larger rho in the middle ones. Left: both objectives
learn the larger lambda first. Middle: at equal lambda JEPA learns the larger rho first, the last feature
{jepa_spread:.2f} times as late as the first; for MAE that factor is {mae_spread:.5f}. Right: lambda and rho disagree.
With the features numbered from the highest rho to the lowest, JEPA learns them in the order {jepa_order} and MAE in
the order {mae_order} (curves.csv).

## Critical times

![{times_alt}]({figures}/times.png)

The paper's times, to leading order in eps:

    JEPA  t* = (1/lambda) sum over n = 1 .. 2L-1 of L / (n rho^(2L-n-1) eps^(n/L))
    MAE   t* = (1/lambda) L/(L-1) eps^(-(L-1)/L),  L > 1

They hold for eps << p rho^L. `critical_time` reads this as eps <= {small:g} p rho^L (dashed; dotted: an error of
0.01) and raises ValueError beyond. Inside, over {inside} combinations of objective, lambda, rho, L and eps, the
largest error is {jepa_error:.2%} for JEPA and {mae_error:.2%} for MAE. MAE's is at L = {mae_worst_depth:g}, where the
error shrinks like eps^(1/2) only; from eps <= 1e-4 p rho^L on it is at most {mae_small_error:.2%}. What the formulas
leave out is Theta(log eps) for JEPA and Theta(1) for MAE. A closed form that leaves nothing out (`hitting_time`,
derived here) agrees with the integrated ODE to {exact_error} in all {total} combinations (times.csv). One feature as
an example (example.csv):

{example}

At equal lambda, the formula makes JEPA's lower rho later by L/((2L-2) lambda) (1/rho_2 - 1/rho_1) eps^(-(2L-2)/L). At
L = 2, rho 0.4 against 1, that is {gap_formula} at eps = 1e-6, measured {gap_jepa}; at eps = 1e-2 it is
{gap_formula_large}, measured {gap_jepa_large}. MAE's gap is between {gap_mae_low:.3f} and {gap_mae_high:.3f} at every
eps from 1e-8 to 1e-2: the lower rho is *earlier*, by next to nothing (gap.csv).

## When influence beats covariance

![{order_alt}]({figures}/order.png)

Two features that disagree: lambda {c[0]:g}, rho {c[1]:g} against lambda {i[0]:g}, rho {i[1]:g}. Colours are measured
with the ODE (order.csv). MAE learns the larger covariance first in {mae_covarying}. JEPA follows influence in a band
of eps. Its lower edge is where the two critical times are equal; their difference is a polynomial in eps^(-1/L) with
one positive root (line; derived here, boundary.csv):

{boundary}

At the deepest the edge falls by a factor of {edge_factor:.1f} per layer, so that at a given eps a deeper JEPA may
follow influence where a shallower one does not. At any depth the order returns to that of lambda as eps -> 0, and at
depth 1 it never leaves it. The upper edge says little: there the covarying feature starts close to the small weight
at which it counts as learned. Part of the line is outside of the domain in which the two times hold to the accuracy
above; it is within {boundary_error:.0%} of the exact edge from depth 3 on, and further off at depth 2.

## Sampled data and minibatches

![{descent_alt}]({figures}/descent.png)

Static data are two noisy views of one signal (as by masking): x = z + n, y = z + n', lambda = var z. Dynamic data are
a noisy autoregression: x_t = z_t + n_t, y_t = x_(t+1), z_(t+1) = {persistence:g} z_t + noise, lambda =
{persistence:g} var z. Either way rho = lambda / var x (this parametrisation is derived here). Networks of depth
{descent_depth} descend on sampled minibatches from eps = {descent_scale:g}, {copies} runs per setting; times of
learning (descent.csv):

{descent}

The order of the flow comes out in {order_kept}. Small batches add what the flow does not have: JEPA's weights leave
their fixed points. At batch {small_batch:g} the static runs end at {jepa_drift} of them (rho 0.4 and 0.9), at batch
{large_batch:g} at {jepa_still}, the flow at {jepa_flow}. MAE's runs end at {mae_drift}, at {mae_still}, and its flow
at {mae_flow} (descent_curves.csv). The reason (derived here): JEPA is stationary where V W e_i = rho_i W e_i, which
holds at any length of W e_i. Only the balance with V, which gradient flow conserves and noise does not, sets that
length; MAE's target y sets its own.

## An unaligned predictor

![{unaligned_alt}]({figures}/unaligned.png)

The aligned V is turned by an angle before the flow starts: the two conflicting features, eps = 0.01, depths
{angle_depths}; the figure and the numbers here are of the deepest (unaligned.csv). The features mix and the ODEs no
longer hold; the weight of a feature is the length of the part of its encoding that is orthogonal to the other's. MAE's
features hardly mix, and both are late by nearly the same factor ({mae_late} at {near:g} degrees). JEPA's encodings become
nearly parallel before they part again (|cosine| up to {jepa_cosine:.2f} at {near:g} degrees), they are learned
{jepa_late} times as late, and beyond {jepa_last:g} degrees not within {horizon:g} times the later aligned time. At
180 degrees both objectives shrink towards 0: minus the aligned V keeps its balance with the layers, and all of them
decay. The order of the two is that of the aligned start in {same_order} in which both were learned.

## Limits

- Diagonal covariances, balanced layers and, up to the last section, an aligned V; no bias, nonlinearity, EMA or
  weight decay. Two features of one conflicting pair make the map; other pairs have other edges.
- The paper's times are of leading order only and do not depend on p. For MAE at depth 1 there is none; it is
  logarithmic in eps.
- Derived here, not in the paper: the closed form of the hitting times, the polynomial of the edge, the
  parametrisation of the two processes, the reading of eps << p rho^L, and what the last two sections find.
- Descent has one constant rate per objective (*rate* in descent.csv); how far noise moves the weights depends on it.
"""
