"""Optimizers with one step size for all parameters, and those that divide by what gradients were."""

from ..records import OptimizerInfo, Option
from .shared import SOME, decay, eps, momentum, rate, share, switch

OPTIMIZERS = (
    OptimizerInfo(
        name="sgd",
        title="Stochastic gradient descent",
        options=(rate(1e-3, search=(1e-3, 1.0)), decay(0.0, search=(1e-7, 1e-3))),
        source="Robbins and Monro, A Stochastic Approximation Method, 1951",
        when_to_use="As the baseline, and where memory for optimizer state is short.",
    ),
    OptimizerInfo(
        name="momentum",
        title="SGD with momentum",
        options=(rate(1e-3, search=(1e-3, 1.0)), momentum(0.9), decay(0.0, search=(1e-7, 5e-5))),
        source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964; "
        "Sutskever et al., On the importance of initialization and momentum in deep learning, 2013",
        when_to_use="For convolutional and other well-scaled networks, where it often generalises best once tuned.",
    ),
    OptimizerInfo(
        name="momentum_ema",
        title="SGD with momentum, moving-average form",
        options=(rate(1e-2, search=(1e-2, 10.0)), momentum(0.9), decay(0.0, search=(1e-7, 5e-5))),
        source="Polyak, Some methods of speeding up the convergence of iteration methods, 1964; averaged as the mean "
        "of gradients in Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015 (arXiv 1412.6980)",
        when_to_use="Instead of momentum where the momentum is tuned too: the step along a steady slope keeps its "
        "length. Its rate is that of momentum divided by 1 - momentum.",
    ),
    OptimizerInfo(
        name="nesterov",
        title="SGD with Nesterov momentum",
        options=(rate(1e-3, search=(1e-3, 1.0)), momentum(0.9), decay(0.0, search=(1e-7, 5e-5))),
        source="Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), 1983; "
        "Sutskever et al., On the importance of initialization and momentum in deep learning, 2013",
        when_to_use="Instead of momentum when the problem is ill-conditioned or the rate high: it overshoots less.",
    ),
    OptimizerInfo(
        name="adagrad",
        title="AdaGrad",
        options=(
            rate(1e-2, search=(1e-3, 1.0)),
            Option("lr_decay", "float", 0.0, 0.0, 1e6, title="Rate of the rule's own 1 / (1 + d t) decay"),
            Option(
                "initial_accumulator_value",
                "float",
                0.0,
                0.0,
                1e6,
                search_low=0.0,
                search_high=0.1,
                search_from=SOME,
                title="Start value of the sum of squared gradients",
            ),
            eps(1e-10),
            decay(0.0, search=(1e-7, 1e-3)),
        ),
        source="Duchi, Hazan and Singer, Adaptive Subgradient Methods for Online Learning and Stochastic "
        "Optimization, 2011",
        when_to_use="For sparse features, such as embeddings and bags of words; its rates only ever shrink.",
    ),
    OptimizerInfo(
        name="adadelta",
        title="AdaDelta",
        options=(
            rate(1.0, search=(0.1, 3.0)),
            share("rho", 0.9, "Weight of the past in the means of squares", search=(0.9, 0.99)),
            eps(1e-6, title="Added to both means of squares"),
            decay(0.0, search=(1e-7, 1e-3)),
        ),
        source="Zeiler, ADADELTA: An Adaptive Learning Rate Method, 2012 (arXiv 1212.5701)",
        when_to_use="Where no rate is known: a rate of 1 is the published rule, slow to start but seldom unstable.",
    ),
    OptimizerInfo(
        name="rmsprop",
        title="RMSprop",
        options=(
            rate(1e-2, search=(1e-5, 1e-2)),
            share("alpha", 0.99, "Weight of the past in the mean of squared gradients", search=(0.9, 0.99)),
            share("momentum", 0.0, "Momentum: weight of the accumulated step", search=(0.0, 0.9), scale="linear"),
            switch("centered", False, "Divide by the standard deviation of gradients, not by their root mean square"),
            eps(1e-8),
            decay(0.0, search=(1e-6, 1e-2)),
        ),
        source="Tieleman and Hinton, Lecture 6.5: rmsprop, COURSERA Neural Networks for Machine Learning, 2012; "
        "centred in Graves, Generating Sequences With Recurrent Neural Networks, 2013 (arXiv 1308.0850)",
        when_to_use="For recurrent networks and other non-stationary objectives.",
    ),
)
