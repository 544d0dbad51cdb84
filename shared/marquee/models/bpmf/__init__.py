"""A Bayesian SVD with implicit feedback and side information on both sides, sampled by Gibbs.

The family: Salakhutdinov and Mnih, "Bayesian Probabilistic Matrix Factorization using Markov Chain Monte
Carlo" (ICML 2008); features as a regression in the prior: Simm et al., "Macau" (2015), and Rendle, Zhang and
Koren, "On the Difficulty of Evaluating Baselines" (2019) for what implicit features bring.
"""
