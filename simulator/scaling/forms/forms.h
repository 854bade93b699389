#pragma once

#include "simulator/scaling/form.h"

namespace archfront {

// One file a law beside this; each is an entry of the table in form.cpp.

/// L = [(Nc / N)^(alpha_N / alpha_D) + Dc / D]^alpha_D, N without embeddings.
/// Source: Kaplan et al., arXiv:2001.08361, eq. 1.5.
Form kaplan_form();

/// L = E + A / N^alpha + B / D^beta. Source: Hoffmann et al., arXiv:2203.15556, eq. 10.
Form chinchilla_form();
/// The same with beta = alpha, which the data-constrained and over-training laws start from.
Form chinchilla_tied_form();

/// L = E + A / C^alpha, C training FLOPs.
/// Source: the form of Henighan et al., arXiv:2010.14701, eq. 1.1, in compute.
Form compute_power_form();

/// L = E + (a M^eta + b M^-eta) C^-eta, M = D / N, C = 6 N D. Source: Gadre et al., arXiv:2403.08540, eq. 4.
Form over_training_form();

/// L = E + A / N'^alpha + B / D'^beta with D' = U + U R_D (1 - exp(-(D / U - 1) / R_D)), U unique tokens, and N'
/// likewise about U_N = min(N, the size compute-optimal for U tokens), with R_N.
/// Source: Muennighoff et al., arXiv:2305.16264, eq. 5, 6 and 17.
Form data_constrained_form();

/// L = (a0 + a1 ln x + a2 / x) (1 + b1 ln r + b2 / r) L_opt, x = d_model / sqrt(N), r = feed-forward / mixer
/// parameters, L_opt the least loss at the run's (N, D). The scale the two brackets share goes to the first. Source:
/// Bian et al., arXiv:2510.18245, eq. 3.
Form conditional_shape_form();
/// L = L_opt + (a0 + a1 ln x + a2 / x) + (b1 ln r + b2 / r). Source: the same, section 3.3.
Form conditional_shape_additive_form();

/// L = E + A / w^a + B / d^b + P / N^c + T / D^e, w width, d depth.
/// Source: McLeish et al., arXiv:2502.06857, section 4.
Form width_depth_form();
/// L = (E + A / N^alpha + B / D^alpha) (1 + g (d_model / n_layers)^alpha).
/// Source: Bian et al., arXiv:2501.18107, eq. 5.
Form aspect_ratio_form();

/// ln L = a ln N + b ln E' + c ln N ln E' + d, 1 / E' = 1 / (E - 1 + 1 / (1 / E_start - 1 / E_max)) + 1 / E_max, E
/// experts. Source: Clark et al., arXiv:2202.01169, eq. 7.
Form routed_form();
/// L = E + (A + g / G^gamma) / N^alpha + B / D^beta, G = d_ff / expert width.
/// Source: Krajewski et al., arXiv:2402.07871, eq. 9.
Form granularity_form();
/// L = E + A / N^alpha + B / D^beta + c / (1 - S)^lambda + d / ((1 - S)^delta N^gamma), S share of inactive experts, N
/// all parameters. Source: Abnar et al., arXiv:2501.12370, eq. 3.
Form expert_sparsity_form();

/// L = level M, level one for each study, M the mixer law (mixer_law.h): only differences within a study count.
Form mixer_form();
/// L = (E + A / N^alpha + B / D^beta) M, which full attention leaves the Chinchilla form.
Form hybrid_form();

/// L = -E + A / N^alpha + V / N_v^gamma + B / D^alpha, N_v parameters of the vocabulary; L relative to a unigram model.
/// Source: Tao et al., arXiv:2407.13623, eq. 8.
Form vocabulary_form();

}  // namespace archfront
