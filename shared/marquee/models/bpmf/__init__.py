"""BPMF with side information and implicit feedback, sampled by Gibbs.

Bayesian probabilistic matrix factorization (BPMF): Salakhutdinov and Mnih, "Bayesian Probabilistic Matrix
Factorization using Markov Chain Monte Carlo" (ICML 2008). Side information is a regression in the prior, as in Simm
et al., "Macau" (2015). Implicit feedback is one block of it, as in SVD++; Rendle, Zhang and Koren, "On the Difficulty
of Evaluating Baselines" (2019), measure its effect.
"""
